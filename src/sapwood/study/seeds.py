"""Seeds: one number per seed of a study's arm, and differences and means of such numbers."""

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from sapwood.study.possible import ANY, Measured, between, within
from sapwood.study.table import Summary, Table, final, summary
from sapwood.tasks import goal_of
from sapwood.training.goal import ACCURACY

T = TypeVar("T")
Seeds = dict[int, float]  # seed -> number


def once(make: Callable[[Table], T]) -> Callable[[Table], T]:
    """Cache `make`'s result for the last table: hundreds of claims ask for it, and a table never changes once read."""
    last: list[tuple[Table, int, T]] = []

    def remembered(rows: Table) -> T:
        if not last or last[0][0] is not rows or last[0][1] != len(rows):
            last[:] = [(rows, len(rows), make(rows))]
        return last[0][2]

    return remembered


@once
def _errors(rows: Table) -> dict[str, dict[str, Seeds]]:
    found: dict[str, dict[str, Seeds]] = {}
    for row in final(rows):
        goal = goal_of(row.get("task", ""))
        if row["metric"] == goal.metric and row["value"] is not None:
            lost = 100 * (1 - row["value"]) if goal == ACCURACY else -row["value"] if goal.up else row["value"]
            room = (0.0, 100.0) if goal == ACCURACY else ANY
            mine = found.setdefault(row["split"], {}).setdefault(row["row"], Measured(within=room))
            mine[row["seed"]] = lost
    return found


def errors(rows: Table, split: str = "test") -> dict[str, Seeds]:
    """Error of each finished arm on `split` in percent, with the last weights: {arm: {seed: error}}.

    Of a task with another goal than accuracy, the goal's value, its sign turned if more is better: less is better here.
    """
    return _errors(rows).get(split, {})


def summed_up(values: Mapping[int, float] | None) -> Summary | None:
    """Mean and 95 % interval over the seeds, within what they say is possible; None without any."""
    return summary(values.values(), within(values)) if values else None


def together(parts: Iterable[Seeds], what: Callable[[list[float]], float]) -> Seeds:
    """One number from several, for every seed that all have."""
    every = list(parts)
    common = set(every[0]).intersection(*every[1:]) if every else set()
    return {seed: what([part[seed] for part in every]) for seed in sorted(common)}


def minus(one: Seeds, other: Seeds) -> Seeds:
    """The difference, seed by seed."""
    return Measured(together((one, other), lambda pair: pair[0] - pair[1]), between(within(one), within(other)))


def excess(rows: Table, row: str, other: str) -> Summary | None:
    """The test error of an arm minus another's, seed by seed, in points; None without a seed that both have."""
    found = errors(rows)
    return summed_up(minus(found.get(row, {}), found.get(other, {})))


def largest(curve: Mapping[int, Mapping[int, float]], limit: float) -> tuple[int, float] | None:
    """The largest size such that the mean at it and at every smaller size is at most `limit`, with that mean."""
    best = None
    for size, seeds in curve.items():
        mean = summary(seeds.values()).mean
        if mean > limit:
            break
        best = size, mean
    return best
