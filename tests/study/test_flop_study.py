"""The study of learned ranks: equal sizes and steps, what its words say of rows, and its smallest scale."""

import sys
from pathlib import Path

import pytest

from sapwood.study.study import find
from sapwood.study.table import read
from sapwood.tasks import TASKS
from sapwood.trials.execution import run_into

STUDY = find(str(Path(__file__).parents[2] / "studies" / "flop.py"))
study = sys.modules[STUDY.trials.__module__]


@pytest.mark.parametrize("scale", ["smoke", "small", "paper"])
def test_arms_differ_in_what_chooses_and_train_for_as_many_epochs(scale):
    of = study.SCALES[scale]
    dense = {trial.seed: trial for trial in STUDY.at(scale) if trial.method == "dense"}
    assert len(dense) == of.seeds
    arms = [trial for trial in STUDY.at(scale) if trial.method != "dense"]
    assert {trial.arm.rpartition(", ")[0] for trial in arms} == {*study.ARMS} == {study.FLOP, *study.QUESTIONS}
    for trial in arms:
        options = trial.all_options()
        start = dict(trial.uses).get("start")
        assert (start is None) is (options.get("by") == "fresh")
        assert start in (None, dense[trial.seed])
        before = of.dense if start else 0
        epochs = sum(options.get(name, 0) for name in ("epochs", "gate_epochs", "sparse_epochs", "tune"))
        assert before + epochs == of.dense + of.gates + of.tune
        assert f"{options['sparsity']:.0%}".replace("%", " %") == trial.arm.rpartition(", ")[2]


def made(values):
    about = {"method": "flop", "task": "text_sru", "step": 1, "epoch": 1, "phase": None}
    return [
        about | {"trial": f"{arm} {seed}", "row": arm, "seed": seed, "split": split, "metric": metric, "value": value}
        for (arm, split, metric), each in values.items()
        for seed, value in enumerate(each)
    ]


ROWS = {
    ("FLOP, 70 %", "test", "bits"): (2.0, 2.1, 2.05),
    ("SVD, 70 %", "test", "bits"): (2.1, 2.2, 2.16),
    ("shuffled, 70 %", "test", "bits"): (2.0, 2.1, 2.05),
    ("magnitude, 70 %", "test", "bits"): (1.9, 2.0, 1.95),
    ("FLOP, 70 %", "note", "sparsity_of_components"): (0.701, 0.702, 0.7),
    ("FLOP, 70 %", "note", "expected_sparsity"): (0.65, 0.66, 0.67),
}


def test_the_sentences_follow_from_the_rows():
    rows = made(ROWS)
    found = {each.claim: each.answer for each in STUDY.summary(rows)}
    first, *others = found.values()
    assert first.startswith(
        "1 of 3 comparisons with networks of the same size are in favour of others, 1 in favour of FLOP"
    )
    assert others[0].endswith("better.")
    assert others[1].startswith("70 %: +0.100")
    assert others[3] == study.MISSING
    assert others[-1] == "70 %: met, 70.1 % gone, 66.0 % by the gates alone."
    missed = made({**ROWS, ("FLOP, 70 %", "note", "sparsity_of_components"): (0.72, 0.72, 0.73)})
    assert "70 %: missed" in study.met(missed)
    every, compared, printed = (table.build(rows) for table in STUDY.tables)
    assert [line[0] for line in every.lines] == ["FLOP, 70 %", "SVD, 70 %", "magnitude, 70 %", "shuffled, 70 %"]
    assert [line[2] for line in compared.lines] == ["better", "worse", "cannot be told apart"]
    assert printed.lines[0][1] == "1.19 bits"
    assert STUDY.verdict([]) == [study.MISSING]


@pytest.mark.data
@pytest.mark.slow
def test_the_smallest_scale_runs(real_data, tmp_path):
    real_data(TASKS["text_sru_smoke"])
    trials = {trial.arm: trial for trial in STUDY.at("smoke")}
    arms = ("FLOP", "small from the start", "SVD training", "SLR")
    some = [trials[arm] for arm in ("dense", *(f"{arm}, 50 %" for arm in arms))]
    for trial in some:
        run_into(tmp_path, trial)
    last = {(row["row"], row["metric"]): row["value"] for row in read(tmp_path) if row["phase"] is None}
    for trial in some[1:]:
        assert 0.5 <= last[trial.arm, "sparsity_of_components"] < 0.55
        most = 0.75 if trial.method != "sparse_low_rank" else 0.85  # which stores its zeros
        assert last[trial.arm, "parameters"] < most * last[trial.arm, "reference_parameters"]
