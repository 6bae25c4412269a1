"""Found: errors and sizes of the study's rows, one number a seed."""

import math
from collections.abc import Mapping
from itertools import pairwise

from sapwood.study.table import Summary, Table, by_seed, summary

from .rows import DENSE, EVERY, FOLDS, WEIGHTS, label

Seeds = Mapping[int, float]  # seed -> number


def errors(rows: Table, split: str = "test") -> dict[str, dict[int, float]]:
    """Of each row that is over: the share of wrong answers in percent."""
    found = by_seed(rows, "accuracy", split)
    return {row: {seed: 100 * (1 - value) for seed, value in seeds.items()} for row, seeds in found.items()}


def folds(rows: Table) -> dict[str, dict[int, float]]:
    """Of each row: how many times fewer weights are not 0 than LeNet-300-100 has."""
    zeros, weights = by_seed(rows, "zeros", "network"), by_seed(rows, "weights", "network")
    return {
        row: {seed: WEIGHTS / max(1.0, weights[row][seed] - value) for seed, value in seeds.items()}
        for row, seeds in zeros.items()
    }


def of_seeds(values: Seeds | None) -> Summary | None:
    """Mean and interval; None without a seed."""
    return summary(values.values()) if values else None


def minus(one: Seeds, other: Seeds) -> dict[int, float]:
    """Seed by seed, where both have been run."""
    return {seed: one[seed] - other[seed] for seed in one if seed in other}


def at_folds(rows: Table, method: str) -> dict[int, dict[int, float]]:
    """The test errors of a method by the compression asked for."""
    found = errors(rows)
    return {fold: found[label(method, fold)] for fold in FOLDS if label(method, fold) in found}


def largest(rows: Table, method: str, limit: float) -> tuple[int, float] | None:
    """The largest compression until which every mean error is at most `limit`, and the error there."""
    best = None
    for fold, seeds in at_folds(rows, method).items():
        mean = summary(seeds.values()).mean
        if mean > limit:
            break
        best = fold, mean
    return best


def area(rows: Table, method: str) -> Summary | None:
    """Error minus that of the dense network of the same seed, averaged over log2 of the compression (trapezoids)."""
    dense, curve = errors(rows).get(DENSE, {}), at_folds(rows, method)
    if len(curve) < len(FOLDS):
        return None
    seeds = set(dense).intersection(*curve.values())
    return of_seeds({seed: _trapezoids({fold: curve[fold][seed] - dense[seed] for fold in curve}) for seed in seeds})


def _trapezoids(heights: Mapping[int, float]) -> float:
    places = [(math.log2(fold), height) for fold, height in heights.items()]
    parts = [(b - a) * (y + z) / 2 for (a, y), (b, z) in pairwise(places)]
    return sum(parts) / (places[-1][0] - places[0][0])


def run(rows: Table) -> list[str]:
    """The methods of which there are rows."""
    there = {row["row"] for row in rows}
    return [method for method in EVERY if any(label(method, fold) in there for fold in FOLDS)]
