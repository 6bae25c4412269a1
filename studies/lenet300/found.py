"""Found: errors and sizes of the study's rows, one number a seed."""

import math
from collections.abc import Mapping
from itertools import pairwise

from sapwood.study import seeds
from sapwood.study.seeds import Seeds, errors, minus, once, summed_up, together
from sapwood.study.table import Summary, Table, by_seed, summary

from .rates import CANDIDATES, DECAY_CANDIDATES, DECAYS, DENSE, decay_tuning, tuned_at, tuning
from .rows import EVERY, FOLDS, WEIGHTS, label

NEARLY = 0.95  # of what is asked for counts as reached


@once
def folds(rows: Table) -> dict[str, Seeds]:
    """Of each row: how many times fewer weights are not 0 than LeNet-300-100 has."""
    zeros, weights = by_seed(rows, "zeros", "network"), by_seed(rows, "weights", "network")
    return {
        row: {seed: WEIGHTS / max(1.0, weights[row][seed] - value) for seed, value in gone.items()}
        for row, gone in zeros.items()
    }


def short(rows: Table, method: str, fold: int) -> float | None:
    """The compression reached, mean over seeds, where that is less than NEARLY of what was asked for."""
    reached = summed_up(folds(rows).get(label(method, fold)))
    return reached.mean if reached and reached.mean < NEARLY * fold else None


def beyond(rows: Table, method: str, fold: int) -> float | None:
    """The compression reached, mean over seeds, where that is more than what was asked for by as much."""
    reached = summed_up(folds(rows).get(label(method, fold)))
    return reached.mean if reached and reached.mean > fold * (2 - NEARLY) else None


def at_folds(rows: Table, method: str) -> dict[int, Seeds]:
    """The test errors of a method by the compression asked for, where it was reached."""
    found = errors(rows)
    there = [fold for fold in FOLDS if label(method, fold) in found and short(rows, method, fold) is None]
    return {fold: found[label(method, fold)] for fold in there}


def largest(rows: Table, method: str, limit: float) -> tuple[int, float] | None:
    """The largest compression until which every mean error is at most `limit`, and the error there."""
    return seeds.largest(at_folds(rows, method), limit)


def area(rows: Table, method: str) -> Summary | None:
    """Error minus that of the dense network of the same seed, averaged over log2 of the compression (trapezoids)."""
    dense, curve = errors(rows).get(DENSE, {}), at_folds(rows, method)
    if len(curve) < len(FOLDS):
        return None
    return summed_up(together([minus(curve[fold], dense) for fold in FOLDS], _trapezoids))


def _trapezoids(heights: list[float]) -> float:
    places = [(math.log2(fold), height) for fold, height in zip(FOLDS, heights, strict=True)]
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
    best = {
        method: {
            fold: _lowest(rows, {each: tuning(method, fold, each) for each in CANDIDATES}) for fold in tuned_at(method)
        }
        for method in (DENSE, *EVERY)
    }
    return {
        method: {fold: at for fold, at in each.items() if at is not None}
        for method, each in best.items()
        if None not in each.values()
    }


def decays(rows: Table) -> dict[str, float]:
    """Of what has been tuned: the weight decay with the lowest validation error, of equals the first."""
    best = {row: _lowest(rows, {each: decay_tuning(row, each) for each in DECAY_CANDIDATES}) for row in DECAYS}
    return {row: decay for row, decay in best.items() if decay is not None}


def _lowest(rows: Table, names: Mapping[float, str]) -> float | None:
    """Of {candidate: row} that with the lowest validation error, of equals the first; None while one is missing."""
    found = errors(rows, "valid")
    if not found.keys() >= set(names.values()):
        return None
    return min(names, key=lambda each: summary(found[names[each]].values()).mean)
