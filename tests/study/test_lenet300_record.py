"""The record: each compression goes on from the one before it, and the words follow from the rows."""

import sys
from itertools import pairwise
from pathlib import Path

import pytest

from sapwood.study.study import find

STUDY = find(str(Path(__file__).parents[2] / "studies" / "lenet300_record.py"))
record = sys.modules["sapwood_study_lenet300_record"]


def made(errors, seeds=range(3)):
    """Final rows of these test errors, in percent."""
    about = {"method": "", "task": record.TASK, "step": 1, "epoch": 1, "phase": None}
    return [
        about | {"trial": f"{row} {seed}", "row": row, "seed": seed, "split": split, "metric": metric, "value": value}
        for row, error in errors.items()
        for seed in seeds
        for split, metric, value in (
            ("test", "accuracy", 1 - error / 100), ("network", "zeros", 263_368), ("network", "weights", 266_200),
        )
    ]  # fmt: skip


GOOD = {"dense": 1.6, "94-fold": 1.8, "128-fold": 1.95, "160-fold": 2.2}


@pytest.mark.parametrize("scale", ["smoke", "small", "paper"])
def test_each_compression_goes_on_from_the_one_before_it(scale):
    by_row = {trial.arm: trial for trial in STUDY.at(scale) if trial.seed == 0}
    chain = [record.NOISE, *map(record.label, record.FOLDS)]
    for before, row in pairwise(chain):
        uses, options = dict(by_row[row].uses), by_row[row].all_options()
        assert uses["start"] == by_row[before]
        assert uses["teacher"] == by_row[record.TEACHER]
        assert options["initial"] == dict(by_row[before].options)["sparsity"]  # nothing comes back in between
    assert [by_row[row].all_options()["sparsity"] for row in chain[1:]] == [1 - 1 / fold for fold in record.FOLDS]


def test_what_is_coded_is_what_was_pruned_before_it_from_the_control():
    by_row = {trial.arm: trial for trial in STUDY.at("paper") if trial.seed == 0}
    for fold in record.CODED:
        pruned, coded = by_row[record.label(fold)], by_row[record.coded_label(fold)]
        assert dict(coded.uses)["start"] == pruned
        assert dict(pruned.uses)["start"] == by_row[record.TAUGHT]
        assert {dict(each.uses)["teacher"] for each in (pruned, coded)} == {by_row[record.TEACHER]}


def test_the_bytes_of_a_file_are_compared_seed_by_seed():
    row = record.coded_label(16)
    rows = made({"dense": 1.5, "dense, taught": 1.3, row: 1.6})
    rows += [each | {"split": "note", "metric": "stored_fold", "value": 48.0} for each in rows if each["row"] == row]
    said = str(record.coded(rows, 16))
    assert "48.0" in said
    assert "the dense network's 0.10" in said
    assert "the same teacher 0.30" in said
    assert "Not run" in str(record.coded(rows, 12))


def test_what_shares_values_goes_on_from_its_compression():
    by_row = {trial.arm: trial for trial in STUDY.at("paper") if trial.seed == 0}
    for fold in record.SHARED:
        shared = by_row[record.shared_label(fold)]
        assert dict(shared.uses) == {"start": by_row[record.label(fold)], "teacher": by_row[record.TEACHER]}
        assert shared.all_options()["coder"] == "shortest"


def with_bytes(errors, folds):
    """Rows of 94-fold with shared values: these errors and folds, seed by seed."""
    row = record.shared_label(94)
    rows = [each for seed, error in enumerate(errors) for each in made({row: error}, seeds=[seed])]
    last = [each for each in rows if each["split"] == "test"]
    notes = {"stored_bytes": 5_000, "header_bytes": 600, "places_bytes": 2_500, "values_bytes": 1_500}
    notes |= {"biases_bytes": 400, "tables_bytes": 0, "by_huffman_bytes": 6_000}
    return rows + [
        each | {"split": "note", "metric": name, "value": value}
        for each, fold in zip(last, folds, strict=True)
        for name, value in ({"stored_fold": fold} | notes).items()
    ]


@pytest.mark.parametrize(
    ("errors", "folds", "says"),
    [
        ([1.8, 1.9, 1.8, 1.9, 1.8], [200, 210, 205, 220, 230], "Yes. 213.0"),
        ([1.8, 1.9, 1.8, 1.9, 1.8], [199, 210, 205, 220, 230], "No. 212.8"),
        ([2.0, 2.0, 2.0, 2.0, 2.1], [200, 210, 205, 220, 230], "No. "),
        ([1.8, 1.9, 1.8, 1.9], [200, 210, 205, 220], "Open: 4 of 5 seeds. "),
        ([1.6, 2.2, 1.6, 2.2, 1.9], [200, 210, 205, 220, 230], "do not secure it"),
    ],
)
def test_every_seed_must_be_small_enough_and_the_mean_good_enough(errors, folds, says):
    rows = with_bytes(errors, folds)
    assert says in str(record.shared(rows, 94))
    assert "Not run" in str(record.shared(rows, 128))


def test_what_the_bytes_are_for_stands_in_a_table():
    [line] = record.bytes_of(with_bytes([1.8] * 5, [213.0] * 5)).lines
    assert line == ("94-fold, shared", "5", "5,000", "600", "2,500", "1,500", "400", "0", "6,000")
    assert record.bytes_of(made(GOOD)).lines == ()


def test_how_far_is_until_the_first_that_misses():
    assert record.largest(made(GOOD), 2.0) == (128, pytest.approx(1.95))
    assert record.largest(made(GOOD), 1.7) is None
    assert record.largest([], 2.0) is None
    assert record.largest(made(GOOD | {"128-fold": 2.3, "160-fold": 1.9}), 2.0) == (94, pytest.approx(1.8))
    hole = {row: error for row, error in GOOD.items() if row != "128-fold"}
    assert record.largest(made(hole), 3.0) == (94, pytest.approx(1.8))


def test_words_and_tables_follow_from_the_rows():
    said = [str(each) for each in record.record(made(GOOD))]
    assert "94-fold: 1.80 % (n = 3)" in said[0]
    assert "do not secure it" not in said[0]
    spread = [each | {"value": each["value"] - 0.004 * (each["seed"] - 1)} for each in made(GOOD)]
    assert "do not secure it" in str(record.record(spread)[0])
    assert "128-fold, 1.95 %" in said[1]
    assert [line[2] for line in record.limits(made(GOOD)).lines] == [
        "\N{EN DASH}", "128-fold at 1.95 %", "128-fold at 1.95 %",
    ]  # fmt: skip
    assert record.reached(made(GOOD)).lines[1] == ("94-fold", "3", "2,832", "1.80")


@pytest.mark.parametrize("table", [[], made(GOOD)], ids=["none", "rows"])
def test_a_report_can_be_made(table, tmp_path):
    assert len(record.record(table)) == 6
    record.drawn(table, tmp_path).canvas.draw()
    for each in STUDY.tables:
        each.build(table)
