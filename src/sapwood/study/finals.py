"""Finals: the final numbers of a study's rows and their courses over epochs, looked up by row and metric."""

import math
from collections.abc import Iterable, Iterator, Sequence

from sapwood.study.seeds import Seeds, once, together
from sapwood.study.table import Table, final, while_training

Key = tuple[str, str, str]  # row, split, metric
Course = dict[int, dict[int, float]]  # seed -> epoch -> number


@once
def _finals(rows: Table) -> dict[Key, Seeds]:
    found: dict[Key, Seeds] = {}
    for row in final(rows):
        if row["value"] is not None:
            found.setdefault((row["row"], row["split"], row["metric"]), {})[row["seed"]] = row["value"]
    return found


@once
def _courses(rows: Table) -> dict[Key, Course]:
    found: dict[Key, Course] = {}
    for row in while_training(rows):
        if row["value"] is not None and row["split"] in ("train", "network"):
            key = (row["row"], row["split"], row["metric"])
            found.setdefault(key, {}).setdefault(row["seed"], {})[row["epoch"]] = row["value"]
    return found


def at_end(rows: Table, label: str, metric: str, split: str = "network", scale: float = 1) -> Seeds:
    """A final metric of one row, times `scale`; empty when there is none."""
    return {seed: value * scale for seed, value in _finals(rows).get((label, split, metric), {}).items()}


def course(rows: Table, label: str, metric: str, split: str = "network") -> Course:
    """A metric of one row at the end of each epoch."""
    return _courses(rows).get((label, split, metric), {})


def accuracy(rows: Table, label: str, split: str = "test") -> Seeds:
    """In percent, with the last weights; on the training set the last epoch's running mean, as the paper has it."""
    if split != "train":
        return at_end(rows, label, "accuracy", split, 100)
    return {seed: 100 * epochs[max(epochs)] for seed, epochs in course(rows, label, "accuracy", "train").items()}


def best_test(rows: Table, label: str) -> Seeds:
    """Test accuracy in percent with the weights of the best validation epoch since the last prune."""
    return at_end(rows, label, "accuracy", "best test", 100)


def zeros(rows: Table, label: str) -> Seeds:
    """Share of all weights that are 0, in percent."""
    return at_end(rows, label, "sparsity", scale=100)


def over(one: Seeds, other: Seeds) -> Seeds:
    """The ratio, seed by seed; not where it would be divided by 0."""
    return together((one, {seed: value for seed, value in other.items() if value}), lambda pair: pair[0] / pair[1])


def distance(rows: Table, one: str, other: str, quantities: Iterable[str], layers: Sequence[int]) -> Seeds:
    """d between two rows, seed by seed, over the epochs that both have; where a quantity is 0 it is left out.

    d(a, b) = sqrt(mean over quantities q, layers l, epochs t of ln(q_alt / q_blt)²), of courses with the same seed.
    """
    squares: dict[int, list[float]] = {}
    for metric in [f"{quantity}_{layer}" for quantity in quantities for layer in layers]:
        for seed, square in _squares(rows, one, other, metric):
            squares.setdefault(seed, []).append(square)
    return {seed: math.sqrt(sum(each) / len(each)) for seed, each in sorted(squares.items())}


def _squares(rows: Table, one: str, other: str, metric: str) -> Iterator[tuple[int, float]]:
    left, right = course(rows, one, metric), course(rows, other, metric)
    for seed in left.keys() & right.keys():
        for epoch in left[seed].keys() & right[seed].keys():
            a, b = left[seed][epoch], right[seed][epoch]
            if a > 0 and b > 0:
                yield seed, math.log(a / b) ** 2
