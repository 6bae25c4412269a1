"""The study of pruning from scratch: equal cost in every arm, what its words say of rows, and its smallest scale."""

import sys
from functools import partial
from pathlib import Path

import pytest

from sapwood.study.claim import verdict
from sapwood.study.grid import MINUS, NOTHING
from sapwood.study.report import report
from sapwood.study.study import SCALES, find
from sapwood.study.table import read
from sapwood.trials.execution import run_into
from sapwood.trials.pool import serial

STUDY = find(str(Path(__file__).parents[2] / "studies" / "from_scratch.py"))
study = sys.modules[STUDY.trials.__module__]


@pytest.mark.parametrize("scale", SCALES)
def test_every_arm_costs_as_much_and_trains_from_new_weights_for_as_long(scale):
    trials = STUDY.at(scale)
    by_arm = {(trial.arm, trial.seed): trial for trial in trials}
    for net in study.SCALES[scale]:
        for seed in range(net.seeds):
            found = by_arm[f"{net.name}, {study.FOUND}", seed]
            assert "start" not in dict(found.uses)
            others = {what: by_arm.get((f"{net.name}, {arm}", seed)) for what, arm in study.OTHERS.items()}
            assert [what for what, trial in others.items() if trial is None] == (
                [] if net.slimmed else ["slimming's widths"]
            )
            for trial in (found, *filter(None, others.values())):
                like = dict(trial.uses).get("like", trial)
                assert trial.recipe == found.recipe
                assert trial.all_options()["epochs"] == net.epochs
                assert like.all_options()["macs"] == net.macs
                assert trial.method == study.METHOD or trial.all_options()["protocol"] == "scratch_e"
            assert dict(others["uniform widths"].uses)["like"] == found
            assert dict(others["shuffled gates"].options) == {**dict(found.options), "shuffled": "across"}
            trained = others["gates on trained weights"]
            assert dict(trained.options) == dict(found.options)
            assert dict(trained.uses)["start"].method == "dense"
    assert all(other in trials for trial in trials for _, other in trial.uses)


def made(values, metric="accuracy", split="test", seeds=range(3), apart=0.01):
    """Final rows, a little apart in each seed, by {arm: value}."""
    about = {"method": "", "task": "vgg6_cifar_narrow", "step": 1, "epoch": 1, "phase": None, "split": split}
    return [
        about | {"trial": f"{arm} {seed}", "row": arm, "seed": seed, "metric": metric, "value": value + seed * apart}
        for arm, value in values.items()
        for seed in seeds
    ]


def test_the_sentences_follow_from_the_rows():
    rows = made({"LeNet-5, gates": 0.9, "LeNet-5, gates, uniform widths, Scratch-E": 0.91,
                 "LeNet-5, shuffled gates": 0.8, "VGG at 1/2, gates": 0.7,
                 "VGG at 1/2, shuffled gates": 0.6})  # fmt: skip
    said = study.verdict(rows)[0]
    assert f"uniform widths {MINUS}1.00, the same in every seed" in said
    assert "(worse); shuffled gates +10.00, the same in every seed" in said
    assert said.endswith("(better).")
    answers = {each.claim[:2]: each.answer for each in study.summary(rows)}
    assert answers["4."].endswith("at most 0.5 points less: does not hold.")
    assert "mean of one network" in answers["4."]
    assert "mean of 2 networks" in answers["6."]
    assert answers["1."] == study.MISSING
    assert len(study.compared(rows).lines) == 3
    assert study.verdict([]) == [study.MISSING]
    assert all(each.answer == study.MISSING for each in study.summary([]))
    near = study.summed_up({0: -0.1, 1: -0.2, 2: 0.1})
    assert study.judged(near, 0.4) == "at most 0.4 points less: cannot be told"
    assert study.judged(near, 0.5) == "at most 0.5 points less: holds"
    assert study.judged(near, 0.0) == "cannot be told apart"


def test_the_mechanism_is_judged():
    arm = "VGG at 1/2, gates"
    noted = partial(made, split="note", apart=0.0)
    rows = [*noted({arm: 0.492}, "macs_left"), *noted({arm: 0.24}, "gates_mean"), *noted({arm: 0.2}, "gates_spread")]
    of = {
        claim.text.split(",")[0]: verdict(claim, claim.found(rows)) for claim in STUDY.claims if arm[:10] in claim.where
    }
    assert list(of.values()) == ["reproduced", "not reproduced", "reproduced"]
    cost, mean, spread, left, *_ = (each.answer for each in study.summary(rows))
    assert cost == "VGG at 1/2 41 %."  # 3 / 15 / 0.492
    assert mean == "VGG at 1/2 0.240; level 0.2."
    assert spread == "VGG at 1/2 0.200."
    assert left == "VGG at 1/2 49.20 % left."
    assert study.learned(rows).lines == ((arm, "0.240", "0.200", NOTHING, NOTHING),)


@pytest.mark.slow
def test_the_arms_of_the_smallest_scale_run_but_for_slimming_and_the_report_answers(tmp_path):
    trials = [trial for trial in STUDY.at("smoke") if "slimming" not in trial.arm and "random" not in trial.arm]
    assert dict(serial(partial(run_into, tmp_path), trials, lambda news: None)) == dict.fromkeys(trials)
    rows = read(tmp_path)
    left = {row["row"]: row["value"] for row in rows if row["metric"] == "macs_left"}
    assert set(left) == {trial.arm for trial in trials if trial.method != "dense"}
    assert all(0.45 < each <= 0.5 for each in left.values())
    assert left["digits, gates, uniform widths, Scratch-E"] <= left["digits, gates"]
    assert study.MISSING not in STUDY.verdict(rows)
    page = report(STUDY, tmp_path, trials).read_text()
    for words in ("shuffled gates", "At equal multiply-adds", "mean of all gates, to be 0.2"):
        assert words in page
