"""The study of rethinking: who looks at whom, what its words say of rows, and that its smallest scale runs."""

import sys
from functools import partial
from pathlib import Path

import pytest

from sapwood.study.report import report
from sapwood.study.rethought import named, rethought
from sapwood.study.study import SCALES, find
from sapwood.study.table import read
from sapwood.trials.execution import run_into
from sapwood.trials.pool import serial
from sapwood.trials.trial import Trial

STUDY = find(str(Path(__file__).parents[2] / "studies" / "rethinking" / "__init__.py"))
arms, verdicts = (sys.modules[f"sapwood_study_rethinking.{name}"] for name in ("arms", "verdicts"))
PRUNED = Trial.make("l1_filters", "conv_digits", 3, "mine", epochs=1).under(course="drops")


def test_a_trial_of_any_method_is_rethought_by_one_call():
    trial = rethought(PRUNED, "scratch_b", epochs=5)
    assert (trial.method, trial.task, trial.seed, trial.arm) == ("rethink", "conv_digits", 3, "mine, Scratch-B")
    assert dict(trial.uses) == {"like": PRUNED}
    assert trial.recipe == PRUNED.recipe
    assert dict(trial.options) == {"epochs": 5}


def test_a_control_is_fine_tuned_from_what_the_pruned_network_began_with():
    dense = Trial.make("dense", "conv_digits", 3)
    trial = rethought(PRUNED.after(start=dense), "fine_tune", "units")
    assert dict(trial.uses)["start"] == dense
    assert trial.arm == named("mine", "fine_tune", "units") == "mine, random units, FT"
    assert dict(rethought(PRUNED, "fine_tune", "units", dense).uses)["start"] == dense
    assert "start" not in dict(rethought(PRUNED.after(start=dense), "scratch_b", "uniform").uses)


@pytest.mark.parametrize("scale", SCALES)
def test_every_protocol_looks_at_the_pruned_network_of_its_own_seed(scale):
    trials = STUDY.at(scale)
    for trial in trials:
        uses = dict(trial.uses)
        assert all(other.seed == trial.seed and other.task == trial.task for other in uses.values())
        assert all(other in trials for other in uses.values())
        if trial.method == "rethink":
            options, pruned = trial.all_options(), uses["like"]
            assert trial.arm == named(pruned.arm, options["protocol"], options["widths"])
            assert pruned.all_options().get("tune", 0) == 0
            assert trial.recipe == pruned.recipe
        if trial.all_options().get("widths") == "uniform":  # the widths that it is compared with are not uniform
            assert dict(uses["like"].options).get("allocation", "") != "uniform"
            assert uses["like"].method == "network_slimming" or {"allocation", "ratios"} & {*dict(uses["like"].options)}
    lengths = {(t.task, t.all_options()["epochs"], t.all_options()["tune"]) for t in trials if t.method == "rethink"}
    assert len(lengths) == len({task for task, *_ in lengths})  # one budget for all methods


def made(accuracies, seeds=range(3)):
    """Final rows of these test accuracies, in percent, a little apart in each seed."""
    about = {"method": "", "task": "lenet5_mnist", "step": 1, "epoch": 1, "phase": None, "split": "test"}
    return [
        about
        | {"trial": f"{arm} {seed}", "row": arm, "seed": seed, "metric": "accuracy", "value": (value + seed) / 100}
        for arm, value in accuracies.items()
        for seed in seeds
    ]


def test_the_sentences_follow_from_the_rows():
    rows = made({"LeNet-5, L1 filters, FT": 90, "LeNet-5, L1 filters, Scratch-B": 91, "LeNet-5, ThiNet, FT": 90,
                 "LeNet-5, ThiNet, Scratch-B": 93, "LeNet-5, unstructured, FT": 95,
                 "LeNet-5, unstructured, Scratch-E": 94})  # fmt: skip
    first, second, third, last = verdicts.summary_of(rows)
    assert "mean of 2 pruned networks: +2.00, the same in every seed" in first.answer
    assert first.answer.endswith("points; more.")
    assert second.answer == third.answer == verdicts.MISSING
    assert "mean of one pruned network: +1.00" in last.answer
    assert [line[0] for line in verdicts.compared(rows).lines] == [
        "LeNet-5, L1 filters", "LeNet-5, ThiNet", "LeNet-5, unstructured",
    ]  # fmt: skip
    assert STUDY.verdict([]) == [verdicts.MISSING]


@pytest.mark.slow
def test_the_smallest_scale_runs_and_its_report_answers(tmp_path):
    trials = STUDY.at("smoke")
    assert dict(serial(partial(run_into, tmp_path), trials, lambda news: None)) == dict.fromkeys(trials)
    rows = read(tmp_path)
    last = {(row["row"], row["metric"]): row["value"] for row in rows if row["phase"] is None}
    left = {arm: last[f"digits, L1 filters, {arm}", "macs"] for arm in ("FT", "Scratch-B", "random units, FT")}
    assert len(set(left.values())) == 1
    assert last["digits, L1 filters, uniform widths, Scratch-B", "macs"] <= left["FT"]
    assert last["digits, L1 filters, random widths, Scratch-B", "macs"] <= left["FT"]
    assert last["digits, L1 filters, Scratch-B", "epochs"] == 3 * last["digits, L1 filters, Scratch-E", "epochs"]
    assert 0.9 < last["digits, L1 filters, Scratch-B", "cost"] <= 1
    assert last["digits, unstructured, Scratch-B", "sparsity"] == last["digits, unstructured", "sparsity"]
    assert verdicts.MISSING not in STUDY.verdict(rows)
    page = report(STUDY, tmp_path).read_text()
    assert "Scratch-B of the pruned widths minus that of uniform ones" in page
