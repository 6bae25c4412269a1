"""The study of adversarial pruning: its arms and their control, what its words say of rows, and its smallest scale."""

import sys
from functools import partial
from pathlib import Path

import pytest

from sapwood.study.grid import MINUS
from sapwood.study.report import report
from sapwood.study.study import SCALES, find
from sapwood.study.table import read
from sapwood.trials.execution import run_into
from sapwood.trials.pool import serial

STUDY = find(str(Path(__file__).parents[2] / "studies" / "adversarial.py"))
adversarial = sys.modules[STUDY.trials.__module__]
CONTROL = adversarial.MAGNITUDE


@pytest.mark.parametrize("scale", SCALES)
def test_eight_arms_differ_in_three_things_and_the_control_has_the_widths_that_were_found(scale):
    trials = STUDY.at(scale)
    seeds = {trial.seed for trial in trials}
    assert len(trials) == 9 * len(seeds)
    for seed in seeds:
        arms = {trial.arm: trial for trial in trials if trial.seed == seed}
        three = ("attack", "mask", "suppression")
        eight = {arm: trial.all_options() for arm, trial in arms.items() if arm != CONTROL}
        assert len({tuple(options[name] for name in three) for options in eight.values()}) == 8
        rest = [{name: value for name, value in options.items() if name not in three} for options in eight.values()]
        assert all(options == rest[0] for options in rest)
        for arm, trial in arms.items():
            uses = {name: other.arm for name, other in trial.uses}
            assert uses == ({} if arm == "standard" else {"start": "standard"}) or arm == CONTROL
            assert all(other in arms.values() for _, other in trial.uses)
        control = arms[CONTROL]
        assert {name: other.arm for name, other in control.uses} == {"start": "AT", "like": "ANP-VS"}
        attack = ("eps", "steps", "step", "attack", "judged", "judge_steps", "restarts")
        assert {n: control.all_options()[n] for n in attack} == {n: eight["ANP-VS"][n] for n in attack}


def made(values, seeds=range(3)):
    """Notes of these arms, a little apart in each seed, by {arm: {metric: value}}."""
    about = {"method": "", "task": "lenet5_mnist", "step": 1, "epoch": 1, "phase": None, "split": "note"}
    return [
        about | {"trial": f"{arm} {seed}", "row": arm, "seed": seed, "metric": metric, "value": value + seed / 1000}
        for arm, metrics in values.items()
        for metric, value in metrics.items()
        for seed in seeds
    ]


def test_the_sentences_follow_from_the_rows():
    rows = made({
        "ANP-VS": {"clean_accuracy": 0.986, "pgd_accuracy": 0.90, "vulnerability_relative": 0.2, "vulnerability": 0.01},
        CONTROL: {"clean_accuracy": 0.986, "pgd_accuracy": 0.92},
        "ANP": {"vulnerability": 0.02, "vulnerability_relative": 0.2},
    })  # fmt: skip
    first, clean, bound, relative, beside = STUDY.verdict(rows)
    assert f"ANP-VS minus AT, magnitude: {MINUS}2.00, the same in every seed" in first
    assert first.endswith("lower.")
    assert "0.00" in clean
    assert "at least 98.5 %: cannot be told from these seeds" in bound
    assert "cannot be told apart" in relative
    assert "PGD accuracy, % 90.10" in beside
    assert "(91.31)" in beside
    assert "at least 98.5 %: holds" in adversarial.bound(made({"ANP-VS": {"clean_accuracy": 0.99}}))
    assert "at least 98.5 %: does not hold" in adversarial.bound(made({"ANP-VS": {"clean_accuracy": 0.9}}))
    assert [line[0] for line in adversarial.compared(rows).lines] == [
        "ANP-VS minus AT, magnitude", "ANP-VS minus AT, magnitude", "ANP-VS minus ANP", "ANP-VS minus ANP",
    ]  # fmt: skip
    odd = made({"AT": {"signs": 0}, "BP": {"signs": 1}})
    assert "BP in 3 of 3 seeds, AT in 2 of 3 seeds" in adversarial.signs(odd)  # of 0, 0.001 and 0.002
    assert "in no arm" in adversarial.signs(made({"AT": {"signs": 0}}, seeds=[0]))
    assert STUDY.verdict([]) == [adversarial.MISSING]
    assert [each.answer for each in STUDY.summary([])] == [adversarial.MISSING] * 8


@pytest.mark.slow
def test_the_arms_of_the_smallest_scale_that_the_verdict_is_about_run_and_the_report_answers(tmp_path):
    trials = [trial for trial in STUDY.at("smoke") if trial.arm in ("standard", "AT", "ANP", "ANP-VS", CONTROL)]
    assert dict(serial(partial(run_into, tmp_path), trials, lambda news: None)) == dict.fromkeys(trials)
    rows = read(tmp_path)
    noted = {(row["row"], row["metric"]): row["value"] for row in rows if row["split"] == "note"}
    for trial in trials:
        assert noted[trial.arm, "pgd_accuracy"] <= noted[trial.arm, "clean_accuracy"]
    assert 0 < noted["ANP-VS", "units_removed"] == noted[CONTROL, "units_removed"]
    assert noted["ANP-VS", "memory_left"] == noted[CONTROL, "memory_left"] < 1 == noted["AT", "memory_left"]
    assert adversarial.MISSING not in STUDY.verdict(rows)
    page = report(STUDY, tmp_path, trials).read_text()
    for words in ("What withstands", "clean at least 98.5 %", "which is what one would do instead"):
        assert words in page
