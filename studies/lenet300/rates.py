"""Learning rates: of each method the one with the lowest validation error, at three compressions."""

import math

MIDDLE = 32
TUNED_AT = (4, MIDDLE, 128)
CANDIDATES = (1.2e-3, 3e-3, 8e-3, 2e-2)
TUNING_SEEDS = (100,)  # not one of the rows: its data order and initial weights are not used again
DENSE = "dense"
RATES: dict[str, dict[int, float]] = {  # `found.tuned` of the kept rows, as a test asserts
    "dense": {1: 0.003},
    "gradual magnitude": {32: 0.003, 128: 0.003},
    "gradual magnitude, ERK": {32: 0.008, 128: 0.008},
    "gradual LAMP": {32: 0.008, 128: 0.008},
    "iterative magnitude": {32: 0.003, 128: 0.008},
    "dynamic surgery": {32: 0.003, 128: 0.003},
    "lottery ticket": {32: 0.008, 128: 0.02},
    "variational dropout": {32: 0.008, 128: 0.003},
    "global activation, N": {32: 0.02, 128: 0.008},
    "global activation, N & W": {32: 0.008, 128: 0.008},
    "local activation, N": {32: 0.02, 128: 0.02},
    "local activation, N & W": {32: 0.008, 128: 0.008},
    "SNIP": {32: 0.008, 128: 0.008},
    "GraSP": {32: 0.008, 128: 0.008},
    "SynFlow": {32: 0.02, 128: 0.003},
    "RigL": {32: 0.008, 128: 0.02},
    "SET": {32: 0.02, 128: 0.02},
    "one-shot magnitude": {32: 0.003, 128: 0.0012},
    "ticket, reinitialised": {32: 0.02, 128: 0.02},
    "ticket, mask shuffled": {32: 0.02, 128: 0.02},
    "random mask": {32: 0.003, 128: 0.0012},
    "random mask, ERK": {32: 0.02, 128: 0.003},
    "narrow dense": {32: 0.008, 128: 0.02},
}


def rate(method: str, fold: int = MIDDLE) -> float | None:
    """What was tuned at the nearest compression, in octaves; the smaller one of two; None: the task's own."""
    return RATES[method][min(RATES[method], key=lambda at: abs(math.log2(fold / at)))] if method in RATES else None


def tuning(method: str, fold: int, candidate: float) -> str:
    """A row's name."""
    return f"tune {method}, {candidate:g}" if method == DENSE else f"tune {method}, {fold}, {candidate:g}"


def tuned_at(method: str) -> tuple[int, ...]:
    """The dense network has one compression."""
    return (1,) if method == DENSE else TUNED_AT
