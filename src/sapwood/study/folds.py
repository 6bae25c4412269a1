"""Folds: methods compared at several compressions. An arm is called "METHOD, FOLD", FOLD times fewer weights."""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from sapwood.study import seeds
from sapwood.study.grid import NOTHING, Grid, number
from sapwood.study.seeds import Seeds, errors, excess, minus, once, summed_up, together
from sapwood.study.study import Finding
from sapwood.study.table import Summary, Table, by_seed, summary

MISSING = "It cannot be said: the arms for it have not been run."
NEARLY = 0.95  # of what is asked for counts as reached


@once
def _left(rows: Table) -> dict[str, Seeds]:
    """Of each arm: how many weights are not 0."""
    zeros, weights = by_seed(rows, "zeros", "network"), by_seed(rows, "weights", "network")
    return {row: {seed: weights[row][seed] - value for seed, value in gone.items()} for row, gone in zeros.items()}


def label(method: str, fold: int) -> str:
    """The arm of a method at a compression."""
    return f"{method}, {fold}"


@dataclass(frozen=True)
class Folds:
    """The methods of a study, the compressions asked for, the weights of its network and its dense arm."""

    methods: Collection[str]
    folds: Sequence[int]
    weights: int
    dense: str

    def of(self, rows: Table, row: str) -> Seeds:
        """How many times fewer weights than the dense network's are not 0."""
        return {seed: self.weights / max(1.0, left) for seed, left in _left(rows).get(row, {}).items()}

    def short(self, rows: Table, method: str, fold: int) -> float | None:
        """The compression reached, mean over seeds, where that is less than NEARLY of what was asked for."""
        reached = summed_up(self.of(rows, label(method, fold)))
        return reached.mean if reached and reached.mean < NEARLY * fold else None

    def beyond(self, rows: Table, method: str, fold: int) -> float | None:
        """The compression reached, mean over seeds, where that is more than what was asked for by as much."""
        reached = summed_up(self.of(rows, label(method, fold)))
        return reached.mean if reached and reached.mean > fold * (2 - NEARLY) else None

    def errors(self, rows: Table, method: str) -> dict[int, Seeds]:
        """The test errors of a method by the compression asked for, where it was reached."""
        found = errors(rows)
        there = (fold for fold in self.folds if label(method, fold) in found)
        return {fold: found[label(method, fold)] for fold in there if self.short(rows, method, fold) is None}

    def largest(self, rows: Table, method: str, limit: float) -> tuple[int, float] | None:
        """The largest compression until which every mean error is at most `limit`, and the error there."""
        return seeds.largest(self.errors(rows, method), limit)

    def area(self, rows: Table, method: str) -> Summary | None:
        """Error minus that of the dense arm's same seed, averaged over log2 of the compression (trapezoids)."""
        dense, curve = errors(rows).get(self.dense, {}), self.errors(rows, method)
        if len(curve) < len(self.folds):
            return None
        return summed_up(together([minus(curve[fold], dense) for fold in self.folds], self._mean_height))

    def _mean_height(self, heights: list[float]) -> float:
        places = [(math.log2(fold), height) for fold, height in zip(self.folds, heights, strict=True)]
        parts = [(b - a) * (y + z) / 2 for (a, y), (b, z) in pairwise(places)]
        return sum(parts) / (places[-1][0] - places[0][0])

    def run(self, rows: Table) -> list[str]:
        """The methods of which there are rows."""
        there = {row["row"] for row in rows}
        return [method for method in self.methods if any(label(method, fold) in there for fold in self.folds)]

    def error_table(self, rows: Table) -> Grid:
        """Test error in percent, and the compression where another than that asked for was reached."""
        found = errors(rows)
        dense = (f"dense: {number(summed_up(found.get(self.dense)), 2)}", *[""] * len(self.folds))

        def cell(method: str, fold: int) -> str:
            reached = self.short(rows, method, fold) or self.beyond(rows, method, fold)
            at = f" at {reached:.1f}-fold" if reached else ""
            return number(summed_up(found.get(label(method, fold))), 2) + at

        return self._by_fold(rows, cell, dense)

    def reached_table(self, rows: Table) -> Grid:
        """Weights before / weights not 0."""
        return self._by_fold(rows, lambda method, fold: number(summed_up(self.of(rows, label(method, fold))), 1))

    def limits_table(self, rows: Table) -> Grid:
        """How far each method goes until its mean error exceeds a limit, at the compressions measured."""
        dense = errors(rows).get(self.dense, {})
        mean = summary(dense.values()).mean if dense else float("nan")
        limits = {"dense mean": mean, "dense mean + 0.5 points": mean + 0.5, "2.0 %": 2.0}
        lines = [
            (method, *(_far(self.largest(rows, method, limit)) for limit in limits.values()),
             number(self.area(rows, method), 2))
            for method in self.run(rows)
        ]  # fmt: skip
        return Grid(("method", *(f"until {title}" for title in limits), "mean excess error (points)"), tuple(lines))

    def against(self, controls: Mapping[str, Iterable[str]]) -> Callable[[Table], Grid]:
        """A builder of the table of errors minus those of a method's controls, seed by seed, points."""

        def build(rows: Table) -> Grid:
            there = {method: self.errors(rows, method) for method in self.run(rows)}

            def cell(one: str, other: str, fold: int) -> str:
                both = fold in there[one] and fold in there[other]
                return number(excess(rows, label(one, fold), label(other, fold)), 2) if both else NOTHING

            pairs = [(a, b) for a, others in controls.items() for b in others if {a, b} <= there.keys()]
            lines = [(f"{a} minus {b}", *(cell(a, b, fold) for fold in self.folds)) for a, b in pairs]
            return Grid(("difference", *(f"{fold}-fold" for fold in self.folds)), tuple(lines))

        return build

    def gaps(self, reference: str, fold: int) -> Callable[[Table], dict[str, Seeds]]:
        """At one compression: the errors of every other method minus the reference's, seed by seed."""

        def find(rows: Table) -> dict[str, Seeds]:
            usual = self.errors(rows, reference).get(fold, {})
            others = {
                method: self.errors(rows, method).get(fold, {}) for method in self.run(rows) if method != reference
            }
            return {method: gap for method, seeds in others.items() if (gap := minus(seeds, usual))}

        return find

    def farthest(self, rows: Table, claim: str, more: float) -> Finding:
        """Which methods go how far within `more` points above the dense arm's mean error."""
        reference = errors(rows).get(self.dense)
        if not reference:
            return Finding(claim, MISSING)
        limit = summary(reference.values()).mean + more
        reach = {name: far for name in self.run(rows) if (far := self.largest(rows, name, limit)) is not None}
        if not reach:
            return Finding(claim, "No method stays within it at the compressions that have been run.")
        order = sorted(reach, key=lambda name: (-reach[name][0], reach[name][1]))  # of equals the lower error first
        fold, error = reach[order[0]]
        measured = ", ".join(f"{name} {reach[name][0]}-fold" for name in order)
        return Finding(claim, f"Farthest: {order[0]}, {fold}-fold at {error:.2f} %.", f"Of those measured: {measured}.")

    def wins(self, rows: Table, one: str, other: str, called: str) -> str:
        """At how many compressions one method's errors are lower than another's: the interval leaves out 0."""
        first, second = self.errors(rows, one), self.errors(rows, other)
        gaps = [summed_up(minus(first[fold], second[fold])) for fold in first if fold in second]
        known = [(gap.low, gap.high) for gap in gaps if gap and gap.low is not None and gap.high is not None]
        better, worse = sum(high < 0 for _, high in known), sum(low > 0 for low, _ in known)
        if not known:
            return ""
        return f"Against {called}: better at {better} of {len(known)} compressions, worse at {worse}."

    def _by_fold(self, rows: Table, cell: Callable[[str, int], str], *first: tuple[str, ...]) -> Grid:
        lines = [(method, *(cell(method, fold) for fold in self.folds)) for method in self.run(rows)]
        return Grid(("method", *(f"{fold}-fold" for fold in self.folds)), (*first, *lines))


def _far(found: tuple[int, float] | None) -> str:
    return NOTHING if found is None else f"{found[0]}-fold ({found[1]:.2f} %)"
