"""The study of searched shapes: its arms and their controls, what its words say of rows, and its smallest scale."""

import sys
from functools import partial
from pathlib import Path

import pytest

from sapwood.study.grid import MINUS
from sapwood.study.study import SCALES, find
from sapwood.study.table import read
from sapwood.trials.execution import run_into
from sapwood.trials.pool import serial

STUDY = find(str(Path(__file__).parents[2] / "studies" / "transformable.py"))
transformable = sys.modules[STUDY.trials.__module__]
WHOLE, FOUND, UNIFORM, RANDOM, ALONE, FREE = (
    getattr(transformable, name) for name in ("WHOLE", "FOUND", "UNIFORM", "RANDOM", "ALONE", "FREE")
)


@pytest.mark.parametrize("scale", SCALES)
def test_every_shape_has_the_same_teacher_and_the_same_training(scale):
    trials = STUDY.at(scale)
    seeds = {trial.seed for trial in trials}
    assert len(trials) == 6 * len(seeds)
    for seed in seeds:
        arms = {trial.arm: trial for trial in trials if trial.seed == seed}
        uses = {arm: {name: other.arm for name, other in trial.uses} for arm, trial in arms.items()}
        assert all(other in arms.values() for trial in arms.values() for _, other in trial.uses)
        assert uses[FOUND] == uses[FREE] == {"teacher": WHOLE}
        assert uses[UNIFORM] == uses[RANDOM] == {"like": FOUND, "teacher": WHOLE}
        assert uses[ALONE] == {"like": FOUND}
        assert len({trial.recipe for trial in arms.values()}) == 1
        assert len({arms[arm].all_options()["epochs"] for arm in arms if arm != FREE}) == 1
        found, free = arms[FOUND].all_options(), arms[FREE].all_options()
        assert {name for name in found if found[name] != free[name]} == {"price", "epochs"}


def made(values, seeds=range(3)):
    """Rows of these arms, a little apart in each seed, by {arm: {metric: value}}."""
    about = {"method": "", "task": "vgg6_cifar_narrow", "step": 1, "epoch": 1, "phase": None}
    return [
        about
        | {"trial": f"{arm} {seed}", "row": arm, "seed": seed, "metric": metric, "value": value + seed / 1000}
        | {"split": "test" if metric == "accuracy" else "note"}
        for arm, metrics in values.items()
        for metric, value in metrics.items()
        for seed in seeds
    ]


def test_the_sentences_follow_from_the_rows():
    rows = made({
        FOUND: {"accuracy": 0.80, "macs_left": 0.48, "spread": 0.7, "sharp": 0.6},
        UNIFORM: {"accuracy": 0.81},
        RANDOM: {"accuracy": 0.78},
        ALONE: {"accuracy": 0.79},
        FREE: {"accuracy": 0.1, "macs_left": 0.7},
    })  # fmt: skip
    first, budget, price = STUDY.verdict(rows)
    assert f"uniform widths {MINUS}1.00, the same in every seed" in first
    assert first.count("higher") == 2
    assert "3 of 3 seeds end within 0.90 and 1.05 of what is wanted; from 0.96 to 0.96" in budget
    assert "22.00" in price
    assert price.endswith("higher.")
    within, sure, nearly, *rest = [each.answer for each in STUDY.summary(rows)]
    assert budget.endswith(within)
    assert "Most choices are below 80 % of the largest entropy in 3 of 3 seeds" in sure
    assert nearly.endswith("At most half a point below: does not hold.")
    assert [answer.rpartition("; ")[2] for answer in rest] == ["higher.", "higher.", "higher."]
    near = made({FOUND: {"accuracy": 0.80}, UNIFORM: {"accuracy": 0.803}})
    assert transformable.nearly(near).endswith("holds.")
    out = made({FOUND: {"accuracy": 0.8, "macs_left": 0.55}})
    assert "0 of 3 seeds" in transformable.within(out)
    assert STUDY.verdict([]) == [transformable.MISSING]
    assert [each.answer for each in STUDY.summary([])] == [transformable.MISSING] * 6
    assert [line[0] for line in transformable.measured(rows).lines] == [FOUND, UNIFORM, RANDOM, ALONE, FREE]
    assert len(transformable.compared(rows).lines) == 4


def test_the_figure_is_of_the_shapes_that_are_trained(tmp_path):
    rows = made({FOUND: {"accuracy": 0.8}, UNIFORM: {"accuracy": 0.79}, FREE: {"accuracy": 0.1}})
    (axes,) = STUDY.figures[0].draw(rows, tmp_path).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [FOUND, UNIFORM]


@pytest.mark.slow
def test_the_smallest_scale_runs_and_controls_cost_at_most_what_was_found(tmp_path):
    trials = STUDY.at("smoke")
    assert dict(serial(partial(run_into, tmp_path), trials, lambda news: None)) == dict.fromkeys(trials)
    rows = read(tmp_path)
    left = {row["row"]: row["value"] for row in rows if row["metric"] == "macs_left"}
    assert 0 < left[UNIFORM] <= left[FOUND] == left[ALONE]
    assert 0 < left[RANDOM] <= left[FOUND]
    assert transformable.MISSING not in STUDY.verdict(rows)
