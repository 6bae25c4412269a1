"""The study of self-adaptive pruning: its arms, what its words say of rows, and its smallest scale."""

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

STUDY = find(str(Path(__file__).parents[2] / "studies" / "self_adaptive.py"))
study = sys.modules[STUDY.trials.__module__]
OWN, STATIC = (study.arm("lenet5_mnist", which) for which in (study.OWN, study.STATIC))


@pytest.mark.parametrize("scale", SCALES)
def test_three_arms_train_as_long_at_the_same_cost_and_only_losses_come_from_the_whole_network(scale):
    by_seed = {}
    for trial in STUDY.at(scale):
        by_seed.setdefault((trial.task, trial.seed), []).append(trial)
    assert len(by_seed) == sum(part.seeds for part in study.SCALES[scale])
    for whole, own, static in by_seed.values():
        options = [trial.all_options() for trial in (whole, own, static)]
        assert len({each["epochs"] for each in options}) == 1
        assert options[1]["budget"] == options[2]["macs"]
        assert (options[2]["protocol"], options[2]["widths"]) == ("scratch_e", "uniform")
        assert [dict(trial.uses) for trial in (whole, own, static)] == [{}, {"like": whole}, {}]
        assert whole.recipe == own.recipe == static.recipe


def made(notes, tests=(), seeds=range(3)):
    """Rows of these arms, a little apart in each seed, {arm: {metric: value}}."""
    about = {"method": "", "task": "lenet5_mnist", "step": 1, "epoch": 1, "phase": None}
    every = [("note", arm, metrics) for arm, metrics in notes.items()] + [
        ("test", *each) for each in dict(tests).items()
    ]
    return [
        about | {"trial": f"{arm} {seed}", "row": arm, "seed": seed, "metric": metric, "split": split}
        | {"value": value + seed * 1e-4}
        for split, arm, metrics in every
        for metric, value in metrics.items()
        for seed in seeds
    ]  # fmt: skip


NOTES = {"own_accuracy": 0.98, "swapped_accuracy": 0.95, "frequent_accuracy": 0.97, "macs_mean": 0.51,
         "rates_spread": 0.1, "distance": 0.05, "distance_within": 0.03, "distance_between": 0.06,
         "loss_and_macs": 0.1, "loss_and_macs_error": 0.01}  # fmt: skip
TESTS = {OWN: {"accuracy": 0.98}, STATIC: {"accuracy": 0.981}}


def answers(**changed):
    rows = made({OWN: NOTES | changed}, TESTS)
    return [each.answer for each in STUDY.summary(rows)], STUDY.verdict(rows)[0]


def test_the_sentences_follow_from_the_rows():
    found, screen = answers()
    assert all(each.endswith("holds.") for each in found)
    assert screen.startswith(f"LeNet-5: with the most frequent mask in place of its own {MINUS}1.00")
    assert "is worth that much" in screen
    assert f"with masks of other images {MINUS}3.00" in screen
    assert f"beside uniform widths {MINUS}0.10" in screen


@pytest.mark.parametrize(
    ("number", "changed"),
    [
        (0, {"macs_mean": 0.53}),
        (1, {"rates_spread": 0.01}),
        (2, {"distance": 0.01}),
        (2, {"distance_within": 0.07}),
        (3, {"swapped_accuracy": 0.979}),
        (4, {"frequent_accuracy": 0.985}),
        (5, {"loss_and_macs": 0.015}),
        (6, {"own_accuracy": 0.98}),
    ],
)
def test_what_is_not_so_is_said(number, changed):
    rows = made({OWN: NOTES | changed}, TESTS if number < 6 else TESTS | {STATIC: {"accuracy": 0.99}})
    said = [each.answer.endswith("does not hold.") for each in STUDY.summary(rows)]
    assert said == [at == number for at in range(7)]


def test_no_value_and_harm_are_said_on_the_first_screen():
    assert "does harm" in answers(frequent_accuracy=0.99)[1]
    alike = made({OWN: NOTES | {"frequent_accuracy": 0.98}}, TESTS)
    for row in alike:
        if row["metric"] == "frequent_accuracy":
            row["value"] += 0.001 * (row["seed"] - 1)
    assert "has no value that these seeds show" in STUDY.verdict(alike)[0]
    assert "cannot be told from one seed" in STUDY.verdict(made({OWN: NOTES}, TESTS, seeds=[0]))[0]


def test_without_rows_it_says_so_and_shows_what_is_in_print():
    assert STUDY.verdict([]) == [study.MISSING]
    assert {each.answer for each in STUDY.summary([])} == {study.MISSING}
    assert len(study.in_print([]).lines) == 11


@pytest.mark.slow
def test_the_smallest_scale_runs_and_the_report_answers(tmp_path):
    trials = STUDY.at("smoke")
    assert dict(serial(partial(run_into, tmp_path), trials, lambda news: None)) == dict.fromkeys(trials)
    rows = read(tmp_path)
    noted = {(row["row"], row["metric"]): row["value"] for row in rows if row["split"] == "note"}
    assert noted["digits, self-adaptive", "macs_mean"] < 0.8
    assert noted["digits, uniform widths", "macs_left"] <= 0.6
    page = report(STUDY, tmp_path, trials).read_text()
    for words in ("digits: with the most frequent mask", "decoupled 0.92", "Images that the whole network finds hard"):
        assert words in page
