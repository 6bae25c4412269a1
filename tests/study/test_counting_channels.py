"""The study of counting channels: equal costs, one recovery, and what its words say of rows."""

import sys
from pathlib import Path

import pytest

from sapwood.study.study import find
from sapwood.study.table import read
from sapwood.trials.execution import run_into

STUDY = find(str(Path(__file__).parents[2] / "studies" / "counting_channels" / "__init__.py"))
study = sys.modules["sapwood_study_counting_channels"]


@pytest.mark.parametrize("scale", ["smoke", "small"])
def test_only_the_criterion_differs(scale):
    trials = STUDY.at(scale)
    alike = {}
    for trial in (each for each in trials if each.method != "dense"):
        options = trial.all_options()
        by = options.pop("by")
        alike.setdefault((trial.task, trial.seed, trial.arm.rpartition(", ")[0]), {})[by] = (options, trial.uses)
    assert all(list(its) == list(study.CRITERIA.values()) for its in alike.values())
    assert all(same == next(iter(its.values())) for its in alike.values() for same in its.values())


def made(accuracies):
    about = {"method": "", "task": "lenet5_mnist", "step": 1, "epoch": 1, "phase": None, "metric": "accuracy"}
    return [
        about | {"trial": f"{arm} {seed}", "row": arm, "seed": seed, "split": "test", "value": (value + seed) / 100}
        for arm, value in accuracies.items()
        for seed in range(3)
    ]


def test_the_sentences_follow_from_the_rows():
    rows = made({study.arm(study.LENET, "one ranking", "10 %", name): value for name, value in
                 {"activation counts": 90, "L1": 91, "luck": 80}.items()})  # fmt: skip
    found = {each.claim: each.answer for each in STUDY.summary(rows)}
    assert found["Counting against luck."].startswith("one ranking: 1 of 1 networks and budgets are better, 0 worse.")
    assert "Mean +10.00" in found["Counting against luck."]
    assert found["Counting against L1."].endswith("worse.")
    assert found["Counting against Taylor."] == study.MISSING
    (line,) = STUDY.tables[0].build(rows).lines
    assert line[0] == "LeNet-5, one ranking, 10 %"
    assert STUDY.verdict([]) == [study.MISSING]


@pytest.mark.slow
def test_the_smallest_scale_runs(tmp_path):
    first, *others = STUDY.at("smoke")
    some = [trial for trial in others if trial.arm.startswith("digits, one") and trial.arm.endswith("counts")]
    for trial in (first, *some):
        run_into(tmp_path, trial)
    last = {(row["row"], row["metric"]): row["value"] for row in read(tmp_path) if row["phase"] is None}
    assert all(last[trial.arm, "macs"] <= 0.5 * last[trial.arm, "reference_macs"] for trial in some)
