"""What papers are made of: questions, columns, measures, tuning and budgets, of tasks with other goals too."""

import matplotlib.figure
import pytest

from sapwood.study import beside, courses, spectra, standing
from sapwood.study.budgets import Connected, sparsity
from sapwood.study.columns import by_arm, mean, said, seeds
from sapwood.study.compared import against
from sapwood.study.controlled import against_control, of_control
from sapwood.study.finals import (
    ahead,
    at_end,
    best_value,
    beyond,
    error,
    goal_value,
    less,
    mean_of,
    number_of,
    of,
    share,
    summed,
    total,
    weights_left,
    zeros,
)
from sapwood.study.grid import MINUS, NOTHING
from sapwood.study.possible import possible
from sapwood.study.printed import Measure, Shown, variant
from sapwood.study.questions import Gaps, Question, corrected, counted, each, families, listed, to
from sapwood.study.questions import against as pairs
from sapwood.study.reached import elsewhere, in_a_line
from sapwood.study.several import detectable, table
from sapwood.study.tuning import Tuning
from sapwood.trials.trial import Trial

SEEDS = range(3)


def row(arm, seed, split, metric, value, *, task="", phase=None, epoch=1):
    return {
        "trial": f"{arm} {seed}", "row": arm, "method": "", "task": task, "seed": seed, "step": 10 * epoch,
        "epoch": epoch, "phase": phase, "split": split, "metric": metric, "value": value,
    }  # fmt: skip


def arms(task="", metric="accuracy", **values):
    """An arm for each name: its goal on test, 0.01 apart from seed to seed, and half of its 100 weights zero."""
    rows = []
    for arm, value in values.items():
        for seed in SEEDS:
            rows += [row(arm, seed, "test", metric, value + 0.01 * seed, task=task)]
            rows += [
                row(arm, seed, "network", name, n, task=task)
                for name, n in (("sparsity", 0.5), ("weights", 100), ("zeros", 50), ("cycles", 4), ("epochs", 9))
            ]
    return rows  # fmt: skip


LANGUAGE = arms("text_smoke", "bits", one=2.5, other=2.25)


def test_numbers_go_by_the_goal_of_the_arm_s_task():
    both = [*arms(one=0.5), *arms("text_smoke", "bits", text=2.5)]
    assert goal_value(both, "one") == pytest.approx({0: 50, 1: 51, 2: 52})  # in percent
    assert goal_value(both, "text") == pytest.approx({0: 2.5, 1: 2.51, 2: 2.52})  # bits as they are
    assert error(both, "one") == pytest.approx({0: 50, 1: 49, 2: 48})
    assert error(both, "text") == goal_value(both, "text")  # of bits less is better
    best = row("text", 0, "best test", "bits", 2.0, task="text_smoke")
    train = [row("text", 0, "train", "bits", 9 - at, task="text_smoke", phase=0, epoch=at) for at in (1, 2)]
    assert best_value([*both, best], "text") == {0: 2.0}
    assert goal_value([*both, *train], "text", "train") == {0: 7}  # of the last epoch


def test_tables_and_drawings_of_a_task_with_another_goal_name_it_and_its_unit():
    grid = against("one", ("one", "other"))(LANGUAGE)
    assert grid.columns[6:8] == ("test bits (per byte)", "minus one's (per byte)")
    assert grid.lines[1][6:9] == ("2.26 [2.24,\xa02.28]", f"{MINUS}0.25", "lower")
    drawing = beside.dotted(["one", "other"])(LANGUAGE, None)
    assert drawing.axes[0].get_xlabel() == "test bits (per byte)"
    rows = [row("one", 0, "valid", "bits", 3.0 - at, task="text_smoke", phase=0, epoch=at) for at in (1, 2)]
    axes = courses.courses("valid", "validation bits", {"(a)": {"one": "{} zeros"}}, "arm")(rows, None).axes[0]
    assert list(axes.get_lines()[0].get_ydata()) == [2.0, 1.0]
    assert axes.get_ylabel() == "validation bits (per byte)"
    assert axes.get_legend().get_texts()[0].get_text() == "one: unfinished zeros"


def test_a_prune_s_heading_has_the_goal_in_training():
    rows = [row("one", 0, split, "sigma_1_1", value, task="text_smoke", phase=0)
            for split, value in (("before prune", 2.0), ("after prune", 1.0))]  # fmt: skip
    rows += [row("one", 0, "train", "bits", 2.75, task="text_smoke", phase=0)]
    (prune,) = spectra.prunes(rows, "one")
    assert spectra._heading("Cycle 1", prune) == "Cycle 1: 1 of 1 singular values remain; training bits 2.750"


def test_numbers_are_made_of_numbers_seed_by_seed():
    rows = [*arms(one=0.5, other=0.25), row("one retrained", 0, "test", "accuracy", 0.75)]
    rows += [row("one", 0, "network", f"rank_{layer}", layer) for layer in (1, 2)]
    everywhere = dict.fromkeys(SEEDS, pytest.approx(25.0))
    assert less(goal_value, "other")(rows, "one") == everywhere
    assert ahead(goal_value, "one")(rows, "other") == everywhere
    assert less(zeros, goal_value)(rows, "other") == pytest.approx({0: 25, 1: 24, 2: 23})
    assert of("{} retrained", goal_value)(rows, "one") == {0: 75}
    assert beyond(zeros, 20)(rows, "one") == dict.fromkeys(SEEDS, 30)
    assert share(number_of("zeros"), number_of("weights"))(rows, "one") == dict.fromkeys(SEEDS, 50)
    assert mean_of(goal_value, ("one", "other"))(rows) == pytest.approx({0: 37.5, 1: 38.5, 2: 39.5})
    assert total("rank", (1, 2))(rows, "one") == {0: 3}
    assert weights_left(rows, "one") == dict.fromkeys(SEEDS, 50)
    assert summed(zeros, "one")(rows).n == 3
    assert summed(zeros, "nobody")(rows) is None
    assert at_end(rows, "nobody", "sparsity") == {}


def test_a_question_counts_its_comparisons_and_says_nothing_without_rows():
    gaps = Gaps(goal_value, to("base", ["better", "worse"]) | pairs([("alike", "base")]))
    asked = Question(
        "Is it better?",
        [counted(" arms", gaps, "better than base", "worse")],
        [listed("Gap", gaps), corrected("Gap", gaps), "Said anyway."],
    )
    rows = arms(base=0.5, better=0.75, worse=0.25)
    rows += [row("alike", seed, "test", "accuracy", 0.5 + value) for seed, value in enumerate((0.3, 0.0, -0.2))]
    found = asked(rows)
    unseen = f"(true differences below {detectable(gaps(rows)['alike against base'].values()):.2g} would be missed)"
    assert found.answer == f"1 of 3 arms are better than base, 1 worse; 1 cannot be told apart {unseen}."
    assert "higher in 1 of 3: better (+25.00, the same in every seed," in found.details
    assert "lower in 1: worse" in found.details
    assert "cannot be told apart in 1: alike against base" in found.details
    assert "corrected for 3 comparisons (Holm): left is better, worse" in found.details
    assert found.details.endswith("Said anyway.")
    assert gaps(rows).keys() == {"better", "worse", "alike against base"}
    assert "cannot be said" in asked([]).answer
    assert asked([]).details == "Said anyway."
    assert Gaps(goal_value, to("{} retrained", ["one"])).pairs == {"one": ("one", "one retrained")}
    assert each(less(goal_value, "base"), ["better", "nobody"])(rows).keys() == {"better"}
    line = table(families({"better?": gaps}))(rows).lines[0]
    assert line[:4] == ("better?", "3", "3", "2")


def test_a_table_by_arm_has_dashes_where_an_arm_would_be_compared_with_itself():
    gap = less(goal_value, "base")
    columns = (
        seeds(),
        mean("minus base ({points})", gap, 1, but=["base"]),
        said("is", gap, "up", "down", but=["base"]),
    )
    grid = by_arm(("base", "better", "gone"), *columns, first="arm", above=[("printed", "1", "", "")])(
        arms(base=0.5, better=0.75)
    )
    assert grid.columns == ("arm", "seeds (n)", "minus base (points)", "is")
    assert grid.lines == (
        ("printed", "1", "", ""),
        ("base", "3", NOTHING, NOTHING),
        ("better", "3", "25.0", "up"),
        ("gone", "0", NOTHING, "cannot be told"),
    )


def test_a_variant_of_a_measure_is_about_another_arm_and_says_so():
    plain = Measure("accuracy, %", Shown("accuracy", "%", 2), goal_value)
    later = variant(plain, "retrained: ", "after: ", "{} retrained")
    assert later[:2] == ("retrained: accuracy, %", Shown("after: accuracy", "%", 2))
    assert later.number([row("one retrained", 0, "test", "accuracy", 0.75)], "one") == {0: 75}


def test_tuning_takes_the_lowest_validation_error_and_nothing_while_one_is_missing():
    tuning = Tuning(("one", "other"), (0.1, 0.2, 0.3), "decay")
    assert tuning.tried("one", 0.1) == "tune one, decay 0.1"
    assert Tuning((), ()).tried("one", 0.1) == "tune one, 0.1"
    values = {0.1: 0.5, 0.2: 0.75, 0.3: 0.75}
    rows = [row(tuning.tried("one", at), 9, "valid", "accuracy", value) for at, value in values.items()]
    rows += [row(tuning.tried("other", 0.1), 9, "valid", "accuracy", 0.9)]
    assert tuning.best(rows) == {"one": 0.2}
    grid = tuning.table("arm", {"one": 0.2, "other": None})(rows)
    assert grid.columns == ("arm", "0.1", "0.2", "0.3", "used")
    assert grid.lines == (("one", "50.00", "25.00", "25.00", "0.2"), ("other", "10.00", NOTHING, NOTHING, NOTHING))


def test_budgets_are_those_of_a_small_network_counted_by_hand():
    network = Connected((4, 6, 3, 2))  # 24 + 18 hidden, 6 at the end
    assert (network.hidden, network.output, network.weights) == (42, 6, 48)
    assert network.hidden * (1 - network.hidden_sparsity(4)) + network.output == pytest.approx(48 / 4)
    e = network.each_round(4, 3)
    assert 42 * (1 - e) ** 3 + 6 * (1 - e / 2) ** 3 == pytest.approx(12)
    assert network.narrow(2, least=1) == (3, 2)  # 12 + 6 + 4 of at most 24; (4, 2) would have 28
    assert sparsity(4) == 0.75


def test_seeds_beside_each_other_are_drawn_with_their_gap():
    drawing = beside.dotted_with_gaps(["base", "better"], "base")(arms(base=0.5, better=0.75), None)
    assert isinstance(drawing, matplotlib.figure.Figure)
    left, right = drawing.axes
    assert left.get_xlabel() == "test accuracy (%)"
    marks = [line for line in right.get_lines() if line.get_marker() == "D"]
    assert [list(line.get_xdata()) for line in marks] == [[pytest.approx(0)], [pytest.approx(25)]]


def differing(**values):
    """Comparisons whose differences have this mean, or None for differences that cannot be told from 0."""
    sure = {name: {0: value, 1: value + 0.01} for name, value in values.items() if value is not None}
    return sure | {name: {0: 9.0, 1: -9.0} for name, value in values.items() if value is None}


@pytest.mark.parametrize(
    ("claimed", "values", "said"),
    [
        ("higher", (1, 1, None), "holds"),
        ("higher", (1, 1, None, None), "holds in part"),  # half of them is not most of them
        ("higher", (1, 1, 1, -1), "not supported"),
        ("higher", (None, None, -1), "not supported"),
        ("higher", (-1, -1, None), "contradicted"),
        ("lower", (-1, -1, None), "holds"),
        ("lower", (1, 1), "contradicted"),
        ("no lower", (1, 1), "holds"),
        ("no lower", (None, None, -1), "cannot be told"),  # no difference found is none that is shown to be small
        ("no lower", (-1, -1, None), "contradicted"),
        ("alike", (None, None), "cannot be told"),
        ("alike", (1, -1, None), "contradicted"),
        ("higher", (), "cannot be told"),
    ],
)
def test_a_claim_stands_by_its_comparisons(claimed, values, said):
    pairs = differing(**{f"c{at}": value for at, value in enumerate(values)})
    assert standing.stands(claimed, [pairs]) == said
    assert standing.stands(claimed, [{name: each} for name, each in pairs.items()]) == said  # all together
    assert standing.stands(claimed, [pairs, {"alone": {0: 5.0}}]) == said  # one seed says nothing


def test_a_claim_of_several_parts_holds_if_all_do():
    words = ("holds", "contradicted", "not supported", "cannot be told")
    assert [standing.as_whole([word]) for word in words] == [*words]
    assert standing.as_whole(["holds", "holds"]) == "holds"
    assert {standing.as_whole(["holds", word]) for word in words[1:]} == {"holds in part"}
    assert standing.as_whole(["cannot be told", "contradicted"]) == "contradicted"
    assert [standing.as_said(each) for each in ([True], [True, False], [False], [])] == [
        "holds", "holds in part", "contradicted", "cannot be told",
    ]  # fmt: skip


def test_a_question_says_how_its_claim_stands_and_a_study_counts_them():
    rows = arms(base=0.5, better=0.75, worse=0.25)
    gaps = {name: Gaps(goal_value, to("base", [name])) for name in ("better", "worse")}
    up, down, open_ = (
        Question(f"About {name}", [counted("", gap, "up", "down", claimed=claimed)])
        for name, gap, claimed in (
            ("a", gaps["better"], "higher"), ("b", gaps["worse"], "higher"), ("c", gaps["worse"], None),
        )
    )  # fmt: skip
    assert [ask(rows).headline for ask in (up, down, open_)] == ["Holds: About a", "Contradicted: About b", "About c"]
    assert str(down(rows)).startswith("Contradicted: About b 0 of 1 are up, 1 down.")
    both = Question("Both", [*up.answer, counted("", gaps["worse"], "up", "down", claimed="no lower")])
    assert both(rows).standing == "holds in part"
    assert Question("Looked up", [], judge=lambda rows: "holds")(rows).standing == "holds"
    found = [ask(rows) for ask in (up, up, down, open_)]
    assert standing.tally(found, "the {} claims") == "Of the 3 claims, 2 hold, 1 is contradicted."
    assert standing.tally([open_(rows)], "the {} claims") == ""
    assert {*standing.RULE} == {*standing.VERBS}


def at(arm, hidden, every, made=3, planned=3):
    """Two seeds of an arm with these sparsities of hidden layers and of all weights."""
    numbers = {"sparsity_hidden": hidden, "sparsity": every, "cycles": made}
    rows = [row(arm, seed, "network", name, value) for seed in (0, 1) for name, value in numbers.items()]
    return rows + [row(arm, seed, "note", "cycles_planned", planned) for seed in (0, 1)]


def test_arms_that_missed_the_sparsity_they_asked_for_are_named():
    def asking(arm, method="global_activation", **options):
        return [Trial.make(method, "mlp_digits", seed, arm, **options) for seed in (0, 1)]

    names = {"hidden": (0.8, 0.785), "every": (0.84, 0.8), "short": (0.5904, 0.58), "one seed": (0.8, 0.785)}
    trials = [each for arm in names for each in asking(arm, sparsity=0.8)]
    trials += [
        *asking("asks for none", "variational_dropout"),
        *asking("by quality", "iterative_magnitude", quality="1"),
    ]
    rows = [each for arm, found in names.items() for each in at(arm, *found, made=2 if arm == "short" else 3)]
    rows += [*at("asks for none", 0.3, 0.3), *at("by quality", 0.3, 0.3), *at("another", 0.1, 0.1)]
    assert elsewhere(trials, rows) == [
        "arm short asked for a sparsity of 0.8 and has 0.590 of the hidden layers (2 of 3 cycles)"
    ]
    astray = [each | {"value": 0.7} if (each["row"], each["seed"]) == ("one seed", 1) and each["value"] in (0.8, 0.785)
              else each for each in rows]  # fmt: skip
    assert [line[:12] for line in elsewhere(trials, astray)] == ["arm short as", "arm one seed"]
    few = [Trial.make("global_activation", "mlp_digits", seed, "few", sparsity=0.995) for seed in (0, 1)]
    assert elsewhere(few, at("few", 0.9949, 0.98)) == []
    assert len(elsewhere(few, at("few", 0.992, 0.98))) == 1  # nearly twice as many weights are left
    assert in_a_line(["a", "b"]) == "Not comparable: a; b."
    assert in_a_line([]) == ""
    assert elsewhere(trials, []) == []


def test_a_study_s_control_is_what_all_others_are_compared_with():
    count, gaps = against_control("base", arms(base=0.5, better=0.75, worse=0.25))
    assert count == "1 of 2 arms are better than base, 1 worse."
    assert gaps.startswith("Test accuracy minus that of base, points: better in 1 of 2: better (+25.00")
    count, gaps = against_control("other", LANGUAGE)  # of bits per byte fewer are better
    assert count == "1 of 1 arms are worse than other, 0 better."
    assert against_control("", LANGUAGE) == against_control("nobody", LANGUAGE) == []
    lines = of_control("base").build(arms(base=0.5, better=0.75)).lines
    assert [line[0] for line in lines] == ["base", "better"]
    assert lines[1][7:9] == ("25.00", "higher")


def test_no_interval_of_a_fraction_or_count_is_wider_than_it_can_be():
    assert possible("top5") == possible("class0_top5") == (0, 1)
    assert possible("rank_at_1_percent_2")[0] == possible("live_12")[0] == 0
