"""Tables: tidy rows, and means with intervals checked by hand."""

import csv
import math

import pytest
from toy import small

from sapwood.study.table import (
    Summary,
    by_epoch,
    difference,
    final,
    labels,
    over_seeds,
    read,
    summary,
    while_training,
    write_csv,
)
from sapwood.trials.execution import run_trial
from sapwood.trials.trial import Trial


def ended(label, seed, value, metric="accuracy", split="test"):
    place = {"trial": f"{label}{seed}", "row": label, "method": "m", "task": "t", "seed": seed, "step": 9, "epoch": 1}
    return place | {"phase": None, "split": split, "metric": metric, "value": value}


def test_intervals_by_hand():
    # 1 2 3 4: s = sqrt(5/3) = 1.290994, t(0.975, 3) = 3.182446, half = 3.182446 * 1.290994 / 2 = 2.054260
    assert summary([1, 2, 3, 4]) == pytest.approx((2.5, 0.445740, 4.554260, 4), abs=1e-6)
    # 0.96 0.98: s = 0.0141421, t(0.975, 1) = 12.706205, half = 12.706205 * 0.0141421 / 1.414214 = 0.12706205
    assert summary([0.96, 0.98]) == pytest.approx((0.97, 0.84293795, 1.09706205, 2), abs=1e-8)
    assert summary([5, 5, 5]) == (5, 5, 5, 3)
    assert summary([7]) == Summary(7, None, None, 1)
    assert summary([])[1:] == (None, None, 0)
    assert math.isnan(summary([]).mean)


def test_over_seeds_takes_final_numbers_only_and_keeps_the_order():
    rows = [ended("b", 0, 1.0), ended("b", 1, 3.0), ended("a", 0, 5.0), ended("a", 1, None), ended("b", 0, 9.0, "loss")]
    rows.append(ended("b", 2, 100.0) | {"phase": 0})
    found = over_seeds(rows, "accuracy", "test")
    assert list(found) == ["b", "a"] == labels(rows)
    assert (found["b"].mean, found["b"].n) == (2.0, 2)
    assert found["a"] == Summary(5.0, None, None, 1)
    assert over_seeds(rows, "accuracy", "valid") == {}
    assert over_seeds(rows, "accuracy", "test", by="method")["m"].n == 2


def test_differences_are_taken_seed_by_seed():
    rows = [ended("a", s, v) for s, v in ((0, 1.0), (1, 2.0), (2, 9.0))] + [
        ended("b", s, v) for s, v in ((1, 1.5), (0, 0.0))
    ]
    assert difference(rows, "accuracy", "test", "a", "b") == summary([1.0, 0.5], (-1, 1))  # of accuracies
    assert difference(rows, "accuracy", "test", "a", "c") is None


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    results = tmp_path_factory.mktemp("results")
    for trial in (small(epochs=1), Trial.make("dense", "mlp_digits", 1, "S", epochs=1)):
        run_trial(trial, results / trial.id)
    return results


def test_reading_joins_rows_with_their_trials(folder):
    rows = read(folder)
    assert {(row["row"], row["method"], row["task"], row["seed"]) for row in rows} == {
        ("G", "global_activation", "mlp_digits", 0), ("S", "dense", "mlp_digits", 1),
    }  # fmt: skip
    assert {row["cycles"] for row in rows if row["row"] == "G"} == {2}
    assert len(final(rows)) + len(while_training(rows)) == len(rows)
    only = read(folder, [small(epochs=1).id])
    assert {row["trial"] for row in only} == {small(epochs=1).id}
    assert list(by_epoch(rows, "accuracy", "valid", "S")) == [1]
    wanted = [Trial.make("dense", "mlp_digits", 1, epochs=1).id, small(epochs=1).id]
    assert labels(read(folder, [*wanted, "not there", wanted[0]])) == ["S", "G"]
    assert labels(read(folder, wanted[::-1])) == ["G", "S"]


def test_csv_has_every_row_and_every_column(folder, tmp_path):
    rows = read(folder)
    write_csv(rows, tmp_path / "rows.csv")
    with (tmp_path / "rows.csv").open(newline="") as file:
        back = list(csv.DictReader(file))
    assert len(back) == len(rows)
    assert set(back[0]) == {name for row in rows for name in row} - {"row"}  # an arm's name in the last release
    assert [each["arm"] for each in back] == [row["arm"] for row in rows] == [row["row"] for row in rows]
    assert all(float(b["value"]) == row["value"] for b, row in zip(back, rows, strict=True) if row["value"] is not None)
    write_csv([], tmp_path / "none.csv")
    assert (tmp_path / "none.csv").read_text().startswith("trial,arm")
