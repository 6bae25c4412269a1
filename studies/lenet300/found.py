"""Found: errors and sizes of the study's rows, one number a seed."""

import math
from collections.abc import Mapping
from itertools import pairwise

from sapwood.study import seeds
from sapwood.study.seeds import Seeds, errors, once, summed_up
from sapwood.study.table import Summary, Table, by_seed

from .rates import CANDIDATES, DENSE, tuned_at, tuning
from .rows import EVERY, FOLDS, WEIGHTS, label


@once
def folds(rows: Table) -> dict[str, Seeds]:
    """Of each row: how many times fewer weights are not 0 than LeNet-300-100 has."""
    zeros, weights = by_seed(rows, "zeros", "network"), by_seed(rows, "weights", "network")
    return {
        row: {seed: WEIGHTS / max(1.0, weights[row][seed] - value) for seed, value in gone.items()}
        for row, gone in zeros.items()
    }


def at_folds(rows: Table, method: str) -> dict[int, Seeds]:
    """The test errors of a method by the compression asked for."""
    found = errors(rows)
    return {fold: found[label(method, fold)] for fold in FOLDS if label(method, fold) in found}


def largest(rows: Table, method: str, limit: float) -> tuple[int, float] | None:
    """The largest compression until which every mean error is at most `limit`, and the error there."""
    return seeds.largest(at_folds(rows, method), limit)


def area(rows: Table, method: str) -> Summary | None:
    """Error minus that of the dense network of the same seed, averaged over log2 of the compression (trapezoids)."""
    dense, curve = errors(rows).get(DENSE, {}), at_folds(rows, method)
    if len(curve) < len(FOLDS):
        return None
    common = set(dense).intersection(*curve.values())
    return summed_up({seed: _trapezoids({fold: curve[fold][seed] - dense[seed] for fold in curve}) for seed in common})


def _trapezoids(heights: Mapping[int, float]) -> float:
    places = [(math.log2(fold), height) for fold, height in heights.items()]
    parts = [(b - a) * (y + z) / 2 for (a, y), (b, z) in pairwise(places)]
    return sum(parts) / (places[-1][0] - places[0][0])


def run(rows: Table) -> list[str]:
    """The methods of which there are rows."""
    there = {row["row"] for row in rows}
    return [method for method in EVERY if any(label(method, fold) in there for fold in FOLDS)]


def tuned(rows: Table) -> dict[str, dict[int, float]]:
    """Of what has been tuned: the candidate with the lowest validation error at each compression, of equals the first.

    Methods of which a candidate is missing are left out.
    """
    best = {method: {fold: _lowest(rows, method, fold) for fold in tuned_at(method)} for method in (DENSE, *EVERY)}
    return {
        method: {fold: at for fold, at in each.items() if at is not None}
        for method, each in best.items()
        if None not in each.values()
    }


def _lowest(rows: Table, method: str, fold: int) -> float | None:
    found = errors(rows, "valid")
    means = {each: summed_up(found.get(tuning(method, fold, each))) for each in CANDIDATES}
    seen = {each: summary.mean for each, summary in means.items() if summary is not None}
    return min(seen, key=lambda each: seen[each]) if len(seen) == len(CANDIDATES) else None
