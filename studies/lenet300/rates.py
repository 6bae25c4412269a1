"""Learning rates, and weight decay of the originals that have one: what has the lowest validation error."""

import math

from sapwood.study.folds import label
from sapwood.study.table import Table
from sapwood.study.tuning import Tuning

MIDDLE = 32
TUNED_AT = (4, MIDDLE, 128)
CANDIDATES = (1.2e-3, 3e-3, 8e-3, 2e-2)
TUNING_SEEDS = (100,)  # not one of the arms: its data order and initial weights are not used again
DENSE = "dense"
DECAY_CANDIDATES = (0.0, 1e-5, 1e-4, 5e-4)
DECAYS: dict[str, float] = {  # `BY_DECAY.best` of the kept rows, as a test asserts
    "as Han 2015": 1e-4,
    "as Guo 2016": 1e-4,
    "as Lee 2019, 20-fold": 1e-4,
}
RATES: dict[str, dict[int, float]] = {  # `tuned` of the kept rows, as a test asserts
    "dense": {1: 0.003},
    "gradual magnitude": {4: 0.003, 32: 0.003, 128: 0.003},
    "gradual magnitude, ERK": {4: 0.008, 32: 0.008, 128: 0.008},
    "gradual LAMP": {4: 0.008, 32: 0.008, 128: 0.008},
    "iterative magnitude": {4: 0.003, 32: 0.003, 128: 0.008},
    "dynamic surgery": {4: 0.003, 32: 0.003, 128: 0.003},
    "lottery ticket": {4: 0.003, 32: 0.008, 128: 0.02},
    "variational dropout": {4: 0.008, 32: 0.008, 128: 0.003},
    "global activation, N": {4: 0.008, 32: 0.02, 128: 0.008},
    "global activation, N & W": {4: 0.003, 32: 0.008, 128: 0.008},
    "local activation, N": {4: 0.003, 32: 0.02, 128: 0.008},
    "local activation, N & W": {4: 0.003, 32: 0.008, 128: 0.008},
    "SNIP": {4: 0.008, 32: 0.008, 128: 0.008},
    "GraSP": {4: 0.008, 32: 0.008, 128: 0.008},
    "SynFlow": {4: 0.008, 32: 0.02, 128: 0.003},
    "RigL": {4: 0.003, 32: 0.008, 128: 0.02},
    "SET": {4: 0.003, 32: 0.02, 128: 0.02},
    "one-shot magnitude": {4: 0.008, 32: 0.003, 128: 0.0012},
    "ticket, reinitialised": {4: 0.008, 32: 0.02, 128: 0.02},
    "ticket, mask shuffled": {4: 0.02, 32: 0.02, 128: 0.02},
    "random mask": {4: 0.008, 32: 0.003, 128: 0.0012},
    "random mask, ERK": {4: 0.008, 32: 0.02, 128: 0.003},
    "narrow dense": {4: 0.003, 32: 0.008, 128: 0.02},
}


def rate(method: str, fold: int = MIDDLE) -> float | None:
    """What was tuned at the nearest compression, in octaves; the smaller one of two; None: the task's own."""
    return RATES[method][min(RATES[method], key=lambda at: abs(math.log2(fold / at)))] if method in RATES else None


def tuned_at(method: str) -> tuple[int, ...]:
    """The dense network has one compression."""
    return (1,) if method == DENSE else TUNED_AT


def point(method: str, fold: int) -> str:
    """The arm of a method at a compression."""
    return method if method == DENSE else label(method, fold)


POINTS = {point(method, fold): (method, fold) for method in RATES for fold in tuned_at(method)}
BY_RATE, BY_DECAY = Tuning(list(POINTS), CANDIDATES), Tuning(list(DECAYS), DECAY_CANDIDATES, "decay")


def tuned(rows: Table) -> dict[str, dict[int, float]]:
    """The best rate at each compression of every method that has been tuned at all of them."""
    best = BY_RATE.best(rows)
    every = {method: {fold: best.get(point(method, fold)) for fold in tuned_at(method)} for method in RATES}
    found = {method: {fold: at for fold, at in each.items() if at is not None} for method, each in every.items()}
    return {method: each for method, each in found.items() if len(each) == len(tuned_at(method))}
