"""The first paper's study, asked again: its arms, its rules on made-up rows, and when they were set."""

import sys
from collections import Counter
from pathlib import Path

import pytest

from sapwood.study.cost import EVERYWHERE, ONE_LAYER
from sapwood.study.equivalence import Within
from sapwood.study.grid import MINUS
from sapwood.study.questions import Gaps
from sapwood.study.study import find
from sapwood.study.table import read
from sapwood.trials.execution import run_into

STUDIES = Path(__file__).parents[2] / "studies"
STUDY, FIRST = (
    find(str(STUDIES / name / "__init__.py")) for name in ("activation_pruning_again", "activation_pruning")
)
arms, rules = (sys.modules[f"sapwood_study_activation_pruning_again.{name}"] for name in ("arms", "rules"))
BY_ID = {trial.id: trial.arm for trial in FIRST.at("paper")}
SWING = (0.1, -0.1, 0.05, -0.05, 0.0)  # of seeds, in points


def paper(seed=0):
    return {trial.arm: trial for trial in STUDY.at("paper") if trial.seed == seed}


def test_what_is_called_as_in_the_first_edition_is_the_same_trial():
    there = {trial.arm: trial for trial in FIRST.at("paper") if trial.seed == 0}
    same = [arm for arm, trial in paper().items() if arm in there and not arm.startswith("V ")]
    assert {*arms.DECISIVE, "L1"} == set(same)
    assert all(paper()[arm].id == there[arm].id for arm in same)
    assert not [trial.arm for trial in STUDY.at("paper") if trial.arm.startswith("V ") and trial.id in BY_ID]


def test_seeds():
    for scale, many, few in (("small", 7, 3), ("paper", 30, 10)):
        seeds = Counter(trial.arm for trial in STUDY.at(scale))
        assert all(seeds[arm] == many for arm in arms.DECISIVE)
        rest = (*arms.SETS, *arms.LOCAL, *arms.MNIST, "S at 0.003", "G1 at 0.03")
        assert all(seeds[arm] == few for arm in rest)


def test_sets_differ_from_g1_in_what_is_counted_and_in_nothing_else():
    every = paper()
    for arm, (source, probe) in {
        "G1, set of 32": ("fresh", 32), "G1, set of 1,024": ("fresh", 1024), "G1, all images": ("fresh", 54_000),
        "G1, held-out set": ("held out", 1024),
    }.items():  # fmt: skip
        assert every[arm].all_options() == every["G1"].all_options() | {"source": source, "probe": probe}
        assert (every[arm].task, every[arm].recipe) == (every["G1"].task, ())
    smoke = {trial.arm: trial.all_options()["probe"] for trial in STUDY.at("smoke") if trial.arm in arms.SETS}
    assert smoke == {"G1, set of 32": 32, "G1, set of 1,024": 1024, "G1, all images": 5400, "G1, held-out set": 600}


def test_other_rates_and_mnist_differ_in_that_alone():
    every = paper()
    assert every["G1 at 0.03"].recipe == (("learning_rate", 0.03),)
    assert every["G1 at 0.03"].all_options() == every["G1"].all_options()
    assert (every["MNIST G1"].task, every["MNIST G1"].all_options()) == ("mlp_mnist", every["G1"].all_options())
    left = {arm: 1 - every[arm].all_options()["sparsity"] for arm in arms.TABLE_10 if "global" in arm}
    assert list(left.values()) == [pytest.approx(0.0106)] * 2
    hidden = every["LeNet local, Neurons"].all_options()["sparsity"]
    assert 1 - hidden * 265_200 / 266_200 == pytest.approx(0.0106)


def test_singular_values_are_followed_to_80_percent_and_marks_to_98():
    for arm in ("V neurons", "V neurons & weights", "V random neurons", "V magnitude"):
        options = paper()[arm].all_options()
        wanted = {"target": 0.98, "first": 0.7, "cycles": 10, "shares": "uniform", "sparsity": 0.8, "stop": "epochs"}
        assert {name: options[name] for name in wanted} == wanted
        assert options["wait"] * (options["cycles"] - 2) <= options["epochs"]  # the first two are in the first epochs
    lengths = {trial.all_options()["epochs"] for arm, trial in paper().items() if arm.startswith("V ")}
    assert lengths == {80}


def test_every_arm_that_is_judged_is_run():
    families = [each for question in rules.QUESTIONS for each in question.answer]
    assert all(isinstance(each, Within) for each in families)
    pairs = [pair for each in families if isinstance(each.pairs, Gaps) for pair in each.pairs.pairs.values()]
    named = {arm for pair in pairs for arm in pair} | {*rules.NEAREST.every, rules.NEAREST.like, rules.NEAREST.luck}
    assert named <= set(paper())
    assert len(pairs) > 20
    assert {question.claim for question in rules.QUESTIONS} >= rules.FIRST
    assert len(rules.FIRST) == 3


def row(arm, seed, metric, value, split="test", **more):
    about = {"trial": f"{arm} {seed}", "method": "", "task": "mlp_fashion", "step": 1, "epoch": 1, "phase": None}
    return about | {"row": arm, "seed": seed, "split": split, "metric": metric, "value": value} | more


def made(accuracies):
    """Five seeds an arm, the same by both measures; only the swing of the arms in capital letters differs."""
    return [
        row(arm, seed, "accuracy", (value + swing * len(arm) / 9) / 100, split)
        for arm, value in accuracies.items()
        for seed, swing in enumerate(SWING)
        for split in ("test", "best test")
    ]


def found(rows, start):
    (finding,) = [each for each in STUDY.summary(rows) if each.claim.startswith(start)]
    return finding


def test_claims_stand_by_the_rules():
    rows = made({"S": 88, "G1": 87, "L3": 86, "M": 87.9, "G1, set of 32": 87, "G1, set of 1,024": 87.02,
                 "G1, all images": 87, "G1, held-out set": 85, "C magnitude": 87.1})  # fmt: skip
    assert found(rows, "Nearly all").standing == "contradicted"
    assert f"pruned minus S, last weights: G1 worse ({MINUS}1.00" in found(rows, "Nearly all").answer
    assert found(rows, "A random set").standing == "holds"
    assert "G1, all images as good as, within 0.5 points" in found(rows, "A random set").answer
    assert found(rows, "The set may be").standing == "contradicted"
    assert found(rows, "Pruning by activity is as good").standing == "not supported"  # L3 is worse, G1 as good
    assert found(rows, "Does counting").standing is None
    assert found(rows, "Are they so").standing is None
    first, main, sets, luck = STUDY.verdict(rows)
    assert first.startswith("Of the paper's 9 claims asked again, 1 holds")
    assert main.startswith("pruned minus S, best validation epoch")
    assert (sets.split(",")[0], luck.split(",")[0]) == ("set minus stream", "G1 minus another score")
    (table, *_) = STUDY.tables
    lines = {line[:2]: line for line in table.build(rows).lines}
    assert lines["pruned minus S, best validation epoch", "G1"][-1] == "worse"


def test_without_rows_nothing_is_said():
    assert STUDY.verdict([]) == []
    assert {each.standing for each in STUDY.summary([])} == {None, "cannot be told"}
    assert all("cannot be said" in each.answer for each in STUDY.summary([]))
    assert all(isinstance(table.build([]).lines, tuple) for table in STUDY.tables)


def test_of_lenet_only_seeds_that_left_little_count():
    small = {"LeNet dense": 98.0, "LeNet global, Neurons": 97.9, "LeNet local, Neurons": 90.0}
    rows = made(small)
    rows += [row("LeNet global, Neurons", seed, "sparsity", 0.9894, "network") for seed in range(5)]
    rows += [row("LeNet local, Neurons", seed, "sparsity", 0.95, "network") for seed in range(5)]
    finding = found(rows, "LeNet")
    assert finding.standing == "holds"
    assert "local" not in finding.answer


def courses(strengths, luck=0.2):
    """Nuclear norms of four layers: penalties are as far from pruning as said, in the natural log."""
    away = {"V neurons": 0.0, "V random neurons": luck} | {
        f"V {kind} {at:g}": far for kind, each in strengths.items() for at, far in each.items()
    }
    return [
        row(arm, seed, f"nuclear_{layer}", 2.718281828459045 ** (far + 0.001 * seed * (arm != "V neurons")), "network",
            phase=0)
        for arm, far in away.items() for seed in range(3) for layer in (1, 2, 3, 4)
    ]  # fmt: skip


def test_the_nearest_penalty_and_whether_the_grid_closes_around_it():
    rows = courses({"nuclear": {0.0003: 0.3, 0.001: 0.1, 0.003: 0.4}, "weighted": {0.001: 0.3, 0.003: 0.4}})
    assert rules.NEAREST.found(rows) == {"V nuclear 0.001": True, "V weighted 0.001": False}
    finding = found(rows, "Pruning by activity is equivalent")
    assert finding.standing == "not supported"  # one is closer than luck, the other further
    assert f"V nuclear 0.001 closer ({MINUS}0.10" in finding.answer
    assert finding.details == "At an end of the strengths tried, others may be nearer: V weighted 0.001."
    rows = courses({"nuclear": {0.0003: 0.3, 0.001: 0.1, 0.003: 0.4}})
    assert found(rows, "Pruning by activity is equivalent").standing == "holds"
    assert found(rows, "Pruning by activity is equivalent").details == "Weaker and stronger ones are further."


@pytest.mark.parametrize(("cheap", "standing"), [(0.25, "holds"), (1.5, "holds in part")])
def test_what_a_local_cycle_costs(cheap, standing):
    costs = [(ONE_LAYER, "seconds", cheap), (EVERYWHERE, "seconds", 1.0), (ONE_LAYER, "bytes", 20.0),
             (EVERYWHERE, "bytes", 80.0)]  # fmt: skip
    rows = [row("cost", 0, metric, value, kind, weights=10**7) for kind, metric, value in costs]
    finding = found(rows, "Local pruning takes less")
    assert finding.standing == standing
    assert f"takes 0.25 of the bytes, {cheap:.2f} of the seconds" in finding.answer


@pytest.mark.slow
@pytest.mark.data
def test_the_smallest_scale_runs(tmp_path, real_data):
    real_data(lambda: None)
    some = ("G1, set of 32", "G1, held-out set", "V neurons", "L1 by random neurons", "S at 0.03")
    trials = [trial for trial in STUDY.at("smoke") if trial.arm in some]
    for trial in trials:
        run_into(tmp_path, trial)
    done = {(each["row"], each["metric"]) for each in read(tmp_path) if each["phase"] is None}
    assert all((arm, "accuracy") in done for arm in some)
