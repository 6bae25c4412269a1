"""The paper's study: its printed numbers, claims, tables and words, on made-up rows for every label and seed."""

import itertools
import math
import sys
from functools import cache
from pathlib import Path

import pytest

from sapwood.study.claim import verdict
from sapwood.study.cost import Cost
from sapwood.study.grid import MINUS, NOTHING
from sapwood.study.shrinking import shrunk
from sapwood.study.spectra_tables import distance_from
from sapwood.study.study import find
from sapwood.study.table import difference, summary
from sapwood.study.thrice import one_run

STUDY = find(str(Path(__file__).parents[2] / "studies" / "activation_pruning" / "__init__.py"))
PARTS = {
    name: sys.modules[f"sapwood_study_activation_pruning.{name}"]
    for name in ("printed", "arms", "claims", "columns", "controls")
}
PRINTED, CALLED = PARTS["printed"].PRINTED, PARTS["printed"].CALLED
MISPRINTS = {  # that the paper contradicts itself: the target for what was reached; an average of other numbers
    ("Table 4, row M", 80.0), ("Table 8, row global, 10 cycles", 78.5),
}  # fmt: skip
SEEDS = range(3)
ANY = {  # what a row has unless the paper or a test says otherwise: split, metric -> number
    ("test", "accuracy"): 0.86, ("valid", "accuracy"): 0.86, ("train", "accuracy"): 0.5,
    ("best test", "accuracy"): 0.87, ("course", "nuclear"): 1.0,  # times the others' norms
    ("network", "epochs"): 60, ("network", "cycles"): 4, ("network", "sparsity"): 0.7, ("network", "zeros"): 224_490,
    ("network", "weights"): 320_700, ("network", "flops"): 192_000, ("network", "dead"): 0.2,
    ("note", "cycles_planned"): 5,
} | {("network", f"{name}_{layer}"): 20 for layer in range(1, 5)
     for name in ("rank", "effective_rank", "stable_rank", "nuclear")} | {
    ("note", f"rank_kept_{layer}"): 20 for layer in range(1, 5)}  # fmt: skip
PLACE = {
    "zeros": ("network", "sparsity", 100),
    "kflops": ("network", "flops", 1e-3),
    "epochs": ("network", "epochs", 1),
}


@cache
def labels():
    return tuple(dict.fromkeys(trial.arm for trial in STUDY.at("paper")))


def of_the_paper():
    """Label -> what the paper prints of it, as rows have it; the last epoch's training accuracy under "running"."""
    found = {}
    for number, label in [(table, row) for table in (4, 3, 2, 5, 6, 7, 11, 13) for row in PRINTED[table]]:
        for column, value in PRINTED[number][label].items():
            if value is not None and (label, column, number) != ("M", "zeros", 7):
                row, name = _row(label, column)
                metric, _, split = name.partition(" ")
                where, what, scale = PLACE.get(metric, (split or "network", metric, 100 if split else 1))
                where = "running" if (split, metric) == ("train", "accuracy") else where
                found.setdefault(row, {})[where, what] = value / scale
    for label, cycles in PARTS["printed"].COMPLETED.items():
        found[label]["network", "cycles"] = cycles
    return found


def _row(label, column):
    """Which row of the study a printed column is about, and what of it."""
    suffix = {"after": " retrained", "pca": " PCA printed ranks"}.get(column.partition(" ")[0], "")
    return label + suffix, column.partition(" ")[2] if suffix else column


def fake(changes=None, only=None, seeds=SEEDS):
    """Rows as after a run: for every label the paper's numbers, then `changes`: label -> {(split, metric): number or
    one for each seed}; accuracies, but not their mean, vary a little with the seed.
    """
    paper, table = of_the_paper(), []
    for label, seed in itertools.product(only or labels(), seeds):
        values = ANY | paper.get(label, {}) | (changes or {}).get(label, {})
        about = {"trial": f"{label}/{seed}", "row": label, "task": "mlp_fashion", "seed": seed}
        spread = 0.001 * (seed - 1) * (len(label) % 3)
        each = {
            place: v[seed] if isinstance(v, tuple) else v + spread * ("accuracy" in place)
            for place, v in values.items()
        }
        table += [about | more for more in course(label, each.pop(("course", "nuclear")))]
        for (split, metric), value in each.items():
            table.append(
                about | (row(0, "train", metric, value) if split == "running" else row(None, split, metric, value))
            )
    return table


def row(phase, split, metric, value, epoch=1, step=1688):
    return {"phase": phase, "split": split, "metric": metric, "value": value, "epoch": epoch, "step": step}


def course(label, factor):
    """What singular-value runs write down on their way."""
    if not label.startswith("V "):
        return
    for epoch, layer in itertools.product((1, 2), range(1, 5)):
        yield row(0, "network", f"nuclear_{layer}", 30 * factor, epoch)
        yield from (row(0, "network", f"{name}_{layer}", 10, epoch) for name in ("effective_rank", "stable_rank"))
        for index in range(1, 11):
            yield row(0, "before prune", f"sigma_{layer}_{index}", 11 - index, epoch, epoch)
            shrunk = (11 - index) * (0.9 if index > 5 and epoch == 1 else 0.95)
            yield row(0, "after prune", f"sigma_{layer}_{index}", shrunk, epoch, epoch)


def said(rows, start, number=0):
    return [str(each) for each in STUDY.summary(rows) if start in str(each)][number]


def table(rows, title):
    grid = next(each for each in STUDY.tables if each.title.startswith(title)).build(rows)
    return {line[0]: dict(zip(grid.columns, line, strict=True)) for line in grid.lines}


def test_every_printed_number_is_a_claim_and_the_paper_confirms_its_own_but_for_its_contradictions():
    rows, count = fake(), sum(v is not None for t in PRINTED.values() for line in t.values() for v in line.values())
    assert len(STUDY.claims) == count
    wrong = {(c.where, c.value) for c in STUDY.claims if verdict(c, c.found(rows)) != "reproduced"}
    assert wrong == MISPRINTS


@pytest.mark.parametrize(
    ("label", "place", "value", "claims"),
    [
        ("L3", ("network", "rank_1"), 187.0, {("Table 7, row L3", 148)}),
        ("G2", ("test", "accuracy"), 0.80, {("Table 13, row G2", 87.48)}),
        ("G1", ("network", "sparsity"), 0.7037, {(f"Table {t}, row G1", 70.25) for t in (2, 5, 7, 11)}
         | {("Table 8, row global, 5 cycles", 75.03), ("Table 9, row Neurons, global", 74.68)}),
        ("G3 retrained", ("network", "epochs"), 30, {("Table 6, row G3 (there G5)", 8)}),
        ("S", ("running", "accuracy"), 0.90, {("Table 3, row S", 95.64)}),
        ("G6 PCA printed ranks", ("test", "accuracy"), 0.84, {("Table 13, row G6", 9.68)}),
        ("L4", ("network", "epochs"), 100, {("Table 3, row L4", 73)}),
    ],
)  # fmt: skip
def test_a_number_planted_as_false_is_not_reproduced_and_nothing_else_suffers(label, place, value, claims):
    rows = fake({label: {place: value}})
    wrong = {(c.where, c.value) for c in STUDY.claims if verdict(c, c.found(rows)) == "not reproduced"}
    assert wrong - MISPRINTS == claims


def test_zeros_are_judged_over_the_seeds_with_the_paper_s_cycles():
    zeros = next(c for c in STUDY.claims if c.where == "Table 2, row G1" and c.value == 70.25)
    some = zeros.found(fake({"G1": {("network", "cycles"): (4, 5, 4), ("network", "sparsity"): (0.7025, 0.8, 0.7025)}}))
    assert (some.n, some.mean) == (2, pytest.approx(70.25))
    none = fake({"G1": {("network", "cycles"): 3, ("network", "sparsity"): 0.6}})
    assert verdict(zeros, zeros.found(none)) == "cannot be judged"
    assert zeros.found(none) is None
    line = table(none, "Cycles completed")["G1"]
    assert (line["seeds that made 3 (n)"], line["seeds that made 4 (n)"], line["the paper's run (cycles)"]) == (
        "3",
        "0",
        "4",
    )
    assert table(none, "Table 2, global")["G1"]["seeds with the paper's cycles (n)"] == "0"


def test_printed_numbers_agree_with_each_other():
    weights = PARTS["printed"].WEIGHTS
    assert weights == 320_700
    for line in PRINTED[5].values():
        assert line["kflops"] == pytest.approx(2e-3 * weights * (1 - line["zeros"] / 100), abs=0.5)
    for number, lines in PARTS["printed"].AVERAGED.items():
        for label, rows in lines.items():
            mean = {c: sum((PRINTED[2] | PRINTED[3])[r][c] for r in rows) / len(rows) for c in PRINTED[number][label]}
            off = 0.035 if label == "global, 10 cycles" else 0.023 if label == "local" else 0.01
            assert PRINTED[number][label] == pytest.approx(mean, abs=off)
    for label, ranks in PARTS["arms"].PCA_RANKS.items():
        columns = [f"rank_{layer}" for layer in range(1, 5)]
        assert [PRINTED[11][label][c] for c in columns] == [PRINTED[7][label][c] for c in columns]
        assert ranks == " ".join(str(PRINTED[11][label][c]) for c in columns)
        assert PRINTED[7][label]["zeros"] == PRINTED[2][label]["zeros"] == PRINTED[5][label]["zeros"]
        assert PRINTED[13][label]["class0_top5 test"] == PRINTED[2][label]["class0_top5 test"]
    assert all(CALLED[other] == label for label, other in CALLED.items())


def test_every_table_has_a_line_of_numbers_for_each_row_and_dashes_for_those_that_are_missing():
    full, few = fake(), fake(only=("S", "G1"))
    for tabled in STUDY.tables:
        for rows in (full, few, []):
            grid = tabled.build(rows)
            assert grid.lines
            assert all(len(line) == len(grid.columns) for line in grid.lines)
            assert all(cell for line in grid.lines for cell in line)
        if tabled.title.startswith(("Table 2", "Table 7", "What retraining", "Channels")):
            assert not any(cell == NOTHING for line in tabled.build(full).lines[1:-1] for cell in line[3:-2])
    line = table(few, "Table 3, local")["L1"]
    assert {cell for column, cell in line.items() if "ours" in column} == {NOTHING}
    assert line["verdicts"] == "5 cannot be judged"
    assert "88.02" in line.values()


def test_verdicts_stand_in_the_tables_and_are_counted_but_not_at_scale_smoke():
    rows = fake({"L3": {("network", "rank_1"): 187.0}})
    line = table(rows, "Table 7, zeros and ranks as")["L3"]
    assert line["rank, layer 1, ours (number)"] == "187.0 ✗"
    assert line["rank, layer 2, ours (number)"] == "98.0 ✓"
    assert line["verdicts"] == "4 reproduced, 1 not reproduced"
    counts = table(rows, "Verdicts by table")
    assert list(counts["all"].values())[1:] == ["532", "529", "3", "0"]
    assert counts["Table 7"]["not reproduced (n)"] == "1"
    assert "Of 253 distinct printed numbers 250 are within" in said(rows, "distinct printed numbers")
    smoke = [each | {"task": "mlp_fashion_smoke"} for each in rows]
    assert table(smoke, "Table 7, zeros and ranks as")["L3"]["verdicts"] == "not judged"
    assert "none is judged" in said(smoke, "Printed numbers")


def test_controls_are_compared_seed_by_seed():
    rows = fake({"C inactive": {("test", "accuracy"): (0.80, 0.81, 0.79)}})
    gap = difference(rows, "accuracy", "test", "C inactive", "G1")
    line = table(rows, "Does counting")["C inactive"]
    assert line["minus G1's (points)"].startswith(f"{100 * gap.mean:.2f} [{100 * gap.low:.2f}".replace("-", MINUS))
    assert line["than G1"] == "lower"


def test_words_turn_with_the_sign_of_the_difference():
    better, worse = (fake({"S": {("test", "accuracy"): (s, s, s + 0.001)}}) for s in (0.80, 0.95))
    assert "12 of 12 pruned networks are more accurate" in said(better, "sections 5.1, 5.2)")
    assert "0 of 12 pruned networks are more accurate than the standard one, 12 less" in said(
        worse, "sections 5.1, 5.2)"
    )
    wide = {label: {("test", "accuracy"): (0.7, 0.85, 0.99)} for label in ("G1", "G2", "L1")}
    assert "cannot be told apart in 3: G1" in said(fake(wide), "sections 5.1, 5.2)")
    assert "from one seed in 12" in said(fake(seeds=(0,)), "sections 5.1, 5.2)")
    others = {f"C {score}": {("test", "accuracy"): v} for score, v in (("random neuron", 0.1), ("inactive", 0.99))}
    words = said(fake(others), "Does counting")
    assert "1 of 5 other scores under G1's schedule are more accurate than counting activations, 4 less" in words
    assert "higher in 4 of 5: G1 against C random neuron (+77.90 [" in words
    assert f"lower in 1: G1 against C inactive ({MINUS}11.1" in words
    assert "fewer in 1" in said(fake({"C magnitude": {("network", "sparsity"): 0.9}}), "Does counting")
    assert all("have not been run" in str(each) for each in STUDY.summary([])[1:])


def test_a_score_of_higher_rank_than_g1_is_not_said_to_be_of_lower_rank():
    high = {f"C {score}": {("network", "rank_1"): (199.0, 200.0, 201.0)} for score in ("magnitude", "column norm")}
    words = said(fake(high), "low-rank")
    assert "3 of 5 other scores under G1's schedule are of lower rank than G1, 2 of higher rank" in words
    assert "lower in 2: G1 against C column norm" in words


def test_channels_have_a_verdict_of_their_own():
    """It is the one place where counting won in the rows, and no finding said so."""
    won = fake({"K activity": {("test", "accuracy"): (0.88, 0.885, 0.89)}, "K random": {("test", "accuracy"): 0.86}})
    words = said(won, "channels of a convolutional network?")
    assert "2 of 2 comparisons are won by counting, 0 lost" in words
    assert "K activity against K random (+2.50 [" in words
    assert "corrected for 2 comparisons (Holm): left is K activity against K" in words
    assert "channels +2.50 [" in said(won, "Counting activations against drawing lots")
    lost = fake({"K activity": {("test", "accuracy"): (0.80, 0.805, 0.80)}})
    assert "0 of 2 comparisons are won by counting, 2 lost" in said(lost, "channels of a convolutional network?")


def test_what_the_text_says_beside_the_tables_has_a_verdict_each():
    long = {label: {("network", "epochs"): (61, 60.5, 61.5)} for label in ("G5", "L2")}
    words = said(fake(long | {"S": {("network", "epochs"): (50, 51, 49)}}), "takes longer than")
    assert "of 12 pruned networks are longer in training than S" in words
    assert "G5 (+11.0 [" in words
    assert "L2 (+11.0 [" in words
    wider = {"G5": {("network", "sparsity"): (0.80, 0.81, 0.80)}, "G6": {("network", "sparsity"): (0.6, 0.61, 0.6)}}
    assert "2 of 4 pairs of ten cycles against five are sparser with ten, 2 denser" in said(fake(wider), "More cycles")
    slow = {label: {("running", "accuracy"): 0.5} for label in ("L1", "L3")}
    assert "0 of 2 rows of Table 4 are higher than M in training accuracy, 2 lower" in said(fake(slow), "(Table 4)")
    low = {"M retrained": {("test", "accuracy"): (0.70, 0.71, 0.70)}}
    assert "12 of 12 retrained networks are more accurate than M retrained" in said(fake(low), "(Table 6)")
    dense = {
        "C dense, narrow": {("test", "accuracy"): (0.95, 0.95, 0.951)},
        "M": {("test", "accuracy"): (0.3, 0.31, 0.3)},
    }
    words = said(fake(dense), "Taken together")
    assert "1 of 2 dense networks, as small as G1 or trained as long, are better than G1" in words
    assert "0 of 12 pruned networks are beaten by M, 12 better than it" in words
    assert "by zeros: as printed" in said(fake(), "The order of the averages")
    turned = fake({label: {("network", "sparsity"): 0.5} for label in ("L1", "L2", "L3", "L4")})
    assert "by zeros: printed local > " in said(turned, "The order of the averages")


def test_what_reproduced_means_is_counted():
    claims, rows = PARTS["claims"], fake()
    strict, random_instead = claims.STRICTNESS, claims.random_instead
    sorts = strict.by_sort(rows)
    assert {sort: found.total() for sort, found in sorts.items()} == {
        claims.CLASS_0: 203, claims.FIXED: 69, claims.FREE: 260,
    }  # fmt: skip
    assert sum(strict.once(rows, claims.FREE).values()) == 220
    assert len(strict.distinct()) == 432
    assert 0 < strict.inside(rows) < 532
    assert random_instead(rows)[::2] == (26, 26)
    luckless = fake({"C random neuron": {(split, "accuracy"): 0.1 for split in ("test", "valid", "running")}})
    assert random_instead(luckless) == (26, 0, 26)
    same, of = strict.with_another(rows)[claims.FIXED]
    assert 0 <= same < of


def test_one_more_run_lies_where_the_textbook_says():
    low, high = one_run(summary([1.0, 2.0, 3.0]))
    half = 4.302652729696142 * math.sqrt(1 + 1 / 3)
    assert (low, high) == pytest.approx((2 - half, 2 + half), rel=1e-9)
    assert one_run(summary([1.0])) is None
    low, high = one_run(summary([98.0, 100.0, 100.0], (0.0, 100.0)))  # the mean's interval is cut at 100
    half = 4.302652729696142 * math.sqrt(4 / 3) * math.sqrt(4 / 3)
    assert (low, high) == pytest.approx((298 / 3 - half, 298 / 3 + half), rel=1e-9)


OTHERS = (*(label for label in PRINTED[13] if label != "G1"), "C random neuron")


def thrice(changes):
    """How the test accuracy that Table 13 prints of G1 is judged; others have 10 % unless `changes` says otherwise."""
    found = dict.fromkeys(OTHERS, 0.1) | changes
    lines = table(fake({label: {("test", "accuracy"): value} for label, value in found.items()}), "Every")
    line = next(line for name, line in lines.items() if name.startswith("Table 13, row G1: accuracy on test"))
    return tuple(line[column] for column in ("in tolerance", "as one run", "discriminating", "others that pass"))


def test_each_number_is_judged_three_ways():
    printed, of = PRINTED[13]["G1"]["accuracy test"] / 100, len(OTHERS)
    near, wide = tuple(printed + off for off in (-0.001, 0, 0.001)), tuple(printed + off for off in (-0.02, 0.02, 0.06))
    assert thrice({"G1": near}) == ("✓", "✓", "✓", f"0 of {of}")
    assert thrice({"G1": near, "C random neuron": printed}) == ("✓", "✓", "✗", f"1 of {of}")
    assert thrice({"G1": wide}) == ("?", "✓", "✗", f"0 of {of}")
    assert thrice({"G1": tuple(value + 0.006 for value in near)}) == ("✓", "✗", "✓", f"0 of {of}")
    assert thrice({"G1": tuple(value + 0.03 for value in near)}) == ("✗", "✗", "✗", f"0 of {of}")


def test_the_report_says_what_was_changed_and_what_else_would_pass():
    said = " ".join(STUDY.assumes(fake()))
    for words in (
        "Figure 1",
        "lenet300",
        "0.98",
        "0.95",
        "local_activation",
        "Equation 4",
        "10:13:20",
        "26 accuracies",
    ):
        assert words in said
    assert "V neurons 4 at 70.0 % zeros" in said
    smoke = [each | {"task": "mlp_fashion_smoke"} for each in fake()]
    assert "What else would pass" not in " ".join(STUDY.assumes(smoke))


def test_comparisons_are_corrected_together():
    rows = fake({"S": {("test", "accuracy"): (0.80, 0.801, 0.80)}})
    line = table(rows, "Corrected for the number")["pruned networks against S, last weights"]
    assert line["comparisons"] == "12"
    assert line["interval leaves out 0"] == "12"
    assert line["left after Holm"].startswith("G1, G2")


def test_a_penalty_must_come_closer_than_random_neurons():
    near, middle, far = (
        {("course", "nuclear"): each} for each in ((1.01, 1.02, 1.01), (2.0, 2.1, 2.0), (3.0, 3.1, 3.0))
    )
    others = {label: far for label in labels() if label.startswith(("V nuclear", "V weighted"))}
    alike = others | {"V nuclear 0.003": near, "V random neurons": middle}
    assert "is like one" in said(fake(alike), "section 5.6)")
    assert "the nearest of 6 penalties, V nuclear 0.003" in said(fake(alike), "section 5.6)")
    assert "is not like one" in said(fake(others | {"V random neurons": near}), "section 5.6)")
    assert "cannot be told" in said(fake(others | {"V random neurons": far}), "section 5.6)")


def test_distance_is_the_root_mean_square_of_logarithms():
    rows = fake({"V magnitude": {("course", "nuclear"): math.e}})
    away = distance_from("V neurons", PARTS["columns"].LAYERS)
    assert away(rows, "V magnitude") == pytest.approx(dict.fromkeys(SEEDS, math.sqrt(1 / 3)))
    one = distance_from("V neurons", PARTS["columns"].LAYERS, ("nuclear",))
    assert one(rows, "V magnitude") == pytest.approx(dict.fromkeys(SEEDS, 1.0))
    assert away(rows, "nobody") == {}


def test_shrinking_tells_large_from_small_and_the_first_prune_from_the_last():
    rows = fake()
    assert shrunk(rows, "V neurons", 0, 0.0, 0.1) == pytest.approx(dict.fromkeys(SEEDS, -5.0))
    assert shrunk(rows, "V neurons", 0, 0.5, 1.0) == pytest.approx(dict.fromkeys(SEEDS, -10.0))
    assert shrunk(rows, "V neurons", -1, 0.5, 1.0) == pytest.approx(dict.fromkeys(SEEDS, -5.0))


def test_zeros_that_dead_neurons_do_not_explain_are_told():
    dead = {label: {("network", "dead"): 0.504 if label == "L1" else 0.01} for label in labels()}
    words = said(fake(dead), "tend to stay sparse")
    assert "11 of 12 retrained networks are more than 5 points away from what dead neurons explain, 1 not." in words
    assert "L1 100" in words


def test_factors_are_counted_with_the_mean_and_full_layers_whole():
    count = PARTS["controls"].factor_weights
    assert count([300, 200, 100, 50], True) == 320_700
    assert count([78, 80, 40, 21], False) == 78 * 1084 + 80 * 500 + 40 * 300 + 21 * 150 + 500
    assert count([78, 80, 40, 50], True) == 79 * 1084 + 81 * 500 + 41 * 300 + 5_000 + 500


def test_costs_that_are_rows_show_their_exponent():
    costs = [Cost("Neurons", 10**power, "seconds", 1e-7 * 10**power) for power in (5, 6, 7)]
    rows = [{"row": "cost", "seed": 0, "weights": c.weights} | row(None, c.kind, c.metric, c.value) for c in costs]
    line = table(rows, "Table 1")["measured: Neurons"]
    assert list(line.values())[1:] == ["3", "W^1.00", NOTHING]


def test_what_was_remembered_of_one_table_is_not_told_of_another():
    claim = next(c for c in STUDY.claims if c.where == "Table 3, row L4" and c.value == 73)
    first, second = fake(), fake({"L4": {("network", "epochs"): 80}})
    assert [claim.found(rows).mean for rows in (first, second, first)] == [73, 80, 73]
    first += [each | {"seed": 9} for each in second if each["row"] == "L4"]
    assert claim.found(first).n == 4
