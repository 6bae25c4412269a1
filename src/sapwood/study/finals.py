"""Finals: the final numbers of a study's arms and their courses over epochs, looked up by arm and metric.

A *number* here is a function (rows, arm) -> {seed: value}, so that tables, questions and drawings can be declared as
lists of numbers. `number_of` makes one of a metric; `less`, `ahead`, `of` and `total` make others of those.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

from sapwood.study.possible import FROM_0, Measured, between, possible, within
from sapwood.study.seeds import Seeds, errors, minus, once, summed_up, together
from sapwood.study.table import Summary, Table, final, while_training
from sapwood.tasks import goal_of
from sapwood.training.goal import ACCURACY, Goal

Key = tuple[str, str, str]  # arm, split, metric
Course = dict[int, dict[int, float]]  # seed -> epoch -> number
Number = Callable[[Table, str], Seeds]


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


@once
def _goals(rows: Table) -> dict[str, Goal]:
    tasks = {row["row"]: row.get("task", "") for row in rows}
    return {arm: goal_of(task) for arm, task in tasks.items()}


def at_end(rows: Table, arm: str, metric: str, split: str = "network", scale: float = 1) -> Seeds:
    """A final metric of one arm, times `scale`; empty when there is none."""
    found = _finals(rows).get((arm, split, metric), {})
    return Measured({seed: value * scale for seed, value in found.items()}, possible(metric, scale))


def course(rows: Table, arm: str, metric: str, split: str = "network") -> Course:
    """A metric of one arm at the end of each epoch."""
    return _courses(rows).get((arm, split, metric), {})


def goal_value(rows: Table, arm: str, split: str = "test") -> Seeds:
    """The goal of the arm's task with the last weights; accuracy in percent, other goals in their own unit.

    On the training set it is the last epoch's running mean.
    """
    goal = _goals(rows).get(arm, ACCURACY)
    if split != "train":
        return at_end(rows, arm, goal.metric, split, _scale(goal))
    found = course(rows, arm, goal.metric, "train")
    last = {seed: _scale(goal) * epochs[max(epochs)] for seed, epochs in found.items()}
    return Measured(last, possible(goal.metric, _scale(goal)))


def best_value(rows: Table, arm: str) -> Seeds:
    """The goal on the test set with the weights of the best validation epoch since the last prune."""
    return goal_value(rows, arm, "best test")


def _scale(goal: Goal) -> float:
    return 100 if goal == ACCURACY else 1


def number_of(metric: str, split: str = "network", scale: float = 1) -> Number:
    """A final metric times `scale`."""
    return lambda rows, arm: at_end(rows, arm, metric, split, scale)


def error(rows: Table, arm: str) -> Seeds:
    """The test error in percent with the last weights: see `seeds.errors`."""
    return errors(rows).get(arm, {})


def summed(number: Number, arm: str) -> Callable[[Table], Summary | None]:
    """A number of one arm, its mean and interval over the seeds: what a claim is held to."""
    return lambda rows: summed_up(number(rows, arm))


zeros = number_of("sparsity", scale=100)  # share of all weights that are 0, in percent
cycles, epochs = number_of("cycles"), number_of("epochs")


def weights_left(rows: Table, arm: str) -> Seeds:
    """How many weights are not 0."""
    return Measured(minus(at_end(rows, arm, "weights"), at_end(rows, arm, "zeros")), FROM_0)


def of(name: str, number: Number) -> Number:
    """The number of another arm, called `name` with the arm's own name in place of {}: "{} retrained"."""
    return lambda rows, arm: number(rows, name.format(arm))


def less(number: Number, other: Number | str) -> Number:
    """The number minus another one, or minus the same number of the arm called so, seed by seed."""

    def difference(rows: Table, arm: str) -> Seeds:
        subtracted = number(rows, other) if isinstance(other, str) else other(rows, arm)
        return minus(number(rows, arm), subtracted)

    return difference


def ahead(number: Number, reference: str) -> Number:
    """The reference's number minus the arm's, seed by seed."""
    return lambda rows, arm: minus(number(rows, reference), number(rows, arm))


def beyond(number: Number, level: float) -> Number:
    """How far a number lies above a level."""

    def above(rows: Table, arm: str) -> Seeds:
        found = number(rows, arm)
        return Measured({seed: value - level for seed, value in found.items()}, between(within(found), (level, level)))

    return above


def mean_of(number: Number, arms: Sequence[str]) -> Callable[[Table], Seeds]:
    """The mean of a number over arms, for every seed that all have."""
    return lambda rows: together((number(rows, arm) for arm in arms), lambda values: sum(values) / len(values))


def total(metric: str, layers: Iterable[int], split: str = "network") -> Number:
    """The sum over layers of a final metric, called "METRIC_LAYER"."""
    names = [f"{metric}_{layer}" for layer in layers]
    return lambda rows, arm: Measured(
        together((at_end(rows, arm, name, split) for name in names), sum), possible(metric)
    )


def over(one: Seeds, other: Seeds) -> Seeds:
    """The ratio, seed by seed; not where it would be divided by 0."""
    return together((one, {seed: value for seed, value in other.items() if value}), lambda pair: pair[0] / pair[1])


def share(number: Number, whole: Number) -> Number:
    """A number in percent of another one of the same arm, seed by seed; not where that is 0."""

    def percent(rows: Table, arm: str) -> Seeds:
        parts = over(number(rows, arm), whole(rows, arm)).items()
        return Measured({seed: 100 * part for seed, part in parts}, FROM_0)

    return percent


def distance(rows: Table, one: str, other: str, quantities: Iterable[str], layers: Sequence[int]) -> Seeds:
    """d between two arms, seed by seed, over the epochs that both have; where a quantity is 0 it is left out.

    d(a, b) = sqrt(mean over quantities q, layers l, epochs t of ln(q_alt / q_blt)²), of courses with the same seed.
    """
    squares: dict[int, list[float]] = {}
    for metric in [f"{quantity}_{layer}" for quantity in quantities for layer in layers]:
        for seed, square in _squares(rows, one, other, metric):
            squares.setdefault(seed, []).append(square)
    return Measured({seed: math.sqrt(sum(each) / len(each)) for seed, each in sorted(squares.items())}, FROM_0)


def _squares(rows: Table, one: str, other: str, metric: str) -> Iterator[tuple[int, float]]:
    left, right = course(rows, one, metric), course(rows, other, metric)
    for seed in left.keys() & right.keys():
        for epoch in left[seed].keys() & right[seed].keys():
            a, b = left[seed][epoch], right[seed][epoch]
            if a > 0 and b > 0:
                yield seed, math.log(a / b) ** 2
