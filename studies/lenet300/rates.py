"""Learning rates: of each method the one with the lowest validation error, at a small and at a large compression."""

import math

TUNED_AT = (32, 128)
CANDIDATES = (1.2e-3, 3e-3, 8e-3, 2e-2)
TUNING_SEEDS = (100,)  # not one of the rows: its data order and initial weights are not used again
DENSE = "dense"
RATES: dict[str, dict[int, float]] = {}


def rate(method: str, fold: int = TUNED_AT[0]) -> float | None:
    """What was tuned at the nearest compression, in octaves; the smaller one of two; None: the task's own."""
    return RATES[method][min(RATES[method], key=lambda at: abs(math.log2(fold / at)))] if method in RATES else None


def tuning(method: str, fold: int, candidate: float) -> str:
    """A row's name."""
    return f"tune {method}, {candidate:g}" if method == DENSE else f"tune {method}, {fold}, {candidate:g}"


def tuned_at(method: str) -> tuple[int, ...]:
    """The dense network has one compression."""
    return (1,) if method == DENSE else TUNED_AT
