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
    first, second, third, last, *others = verdicts.summary_of(rows)
    assert "mean of 2 pruned networks: +2.00, the same in every seed" in first.answer
    assert first.answer.endswith("points; more.")
    assert {each.answer for each in (second, third, *others)} == {verdicts.MISSING}
    assert "mean of one pruned network: +1.00" in last.answer
    assert [line[0] for line in verdicts.compared(rows).lines] == [
        "LeNet-5, L1 filters", "LeNet-5, ThiNet", "LeNet-5, unstructured",
    ]  # fmt: skip
    assert STUDY.verdict([]) == [verdicts.MISSING]


def said(rows):
    return {finding.claim[:24]: finding.answer for finding in verdicts.summary_of(rows)}


def test_what_methods_promise_is_judged_by_intervals():
    """A cliff of 2 points, and of 22 without drawing; structures a point above luck; soft far below a cut."""
    cut, slim = arms.CLIFF, f"VGG, {arms.DRAWN}"
    rows = made({slim: 80, f"{slim}, {cut}": 78, "VGG, dense": 82, f"VGG, dense, {cut}": 60,
                 "VGG, structures": 70, named("VGG, structures", *arms.LUCK): 69,
                 "LeNet-5, soft": 90, "LeNet-5, at once": 95,
                 "VGG, unstructured, FT": 50, named("VGG, unstructured", *arms.LUCK): 40})  # fmt: skip
    found = said(rows)
    assert found["Network slimming: with s"].endswith(
        "+2.00, the same in every seed, n\u00a0=\u00a03 points. At most 3: holds."
    )
    assert "+20.00" in found["... and without, for at "]
    assert found["... and without, for at "].endswith("At least 15: holds.")
    assert found["Sparse structure selecti"].endswith("At least 0: holds.")
    assert found["Soft filter pruning is a"].endswith("At least -0.5: does not hold.")
    assert "+10.00" in found["At 95 % sparsity it matt"]
    apart = (
        made({"LeNet-5, soft": 90}) + made({"LeNet-5, at once": 90}, seeds=[0]) + made({"LeNet-5, at once": 93}, [1])
    )
    assert said(apart)["Soft filter pruning is a"].endswith("cannot be told from these seeds.")


def test_checks_begin_where_their_sheets_say():
    """The cliff is of two trained networks, cut without another step; soft and cut train on for as long."""
    by_arm = {trial.arm: trial for trial in STUDY.at("small") if trial.seed == 0}
    slim, dense = by_arm[f"VGG, {arms.DRAWN}"], by_arm["VGG, dense"]
    assert slim.all_options()["macs"] == 1
    assert slim.all_options()["strength"] > 0
    for begun in (slim, dense):
        cut = by_arm[f"{begun.arm}, {arms.CLIFF}"]
        options = cut.all_options()
        assert dict(cut.uses)["start"] == begun
        assert (options["epochs"], options["tune"], options["channels"]) == (0, 0, 0.4)
        assert options["strength"] == options["initial"] == 0
    assert dict(by_arm["VGG, network slimming"].uses)["start"] == slim
    soft, cut = by_arm["LeNet-5, soft"], by_arm["LeNet-5, at once"]
    assert dict(soft.uses)["start"] == dict(cut.uses)["start"] == by_arm["LeNet-5, dense"]
    assert soft.all_options()["epochs"] == cut.all_options()["tune"] == 3
    assert soft.all_options()["pruned"] == cut.all_options()["pruned"]
    assert (cut.all_options()["epochs"], cut.all_options()["rate"], cut.all_options()["by"]) == (0, 1, "l2")
    luck = by_arm[named("VGG, structures", *arms.LUCK)]
    assert dict(luck.uses) == {"like": by_arm["VGG, structures"], "start": dense}
    assert by_arm["VGG, structures"].all_options()["tune"] == 0


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
    assert last["digits, soft", "macs"] == last["digits, at once", "macs"]
    assert last["digits, unstructured, random units, FT", "sparsity"] == last["digits, unstructured", "sparsity"]
    page = report(STUDY, tmp_path).read_text()
    assert "Scratch-B of the pruned widths minus that of uniform ones" in page
