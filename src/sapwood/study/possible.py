"""Possible: the range that a metric can lie in at all, so that no interval reaches beyond it."""

import math
from collections.abc import Collection, Iterable, Mapping

Range = tuple[float, float]
ANY: Range = (-math.inf, math.inf)
FROM_0: Range = (0.0, math.inf)
FRACTION: Range = (0.0, 1.0)
FRACTIONS = ("accuracy", "top5", "class0_top1", "class0_top5", "dead")
COUNTS = (  # and other numbers that are never negative; with _1, _2, ... of a layer
    "loss", "epoch", "epochs", "steps", "round", "cycles", "cycles_planned", "zeros", "weights", "flops", "flops_dense",
    "macs", "parameters", "units", "rank", "rank_at_1_percent", "rank_kept",
    "effective_rank", "stable_rank", "nuclear", "live", "seconds", "bytes",
)  # fmt: skip


class Measured(dict[int, float]):
    """One number for each seed, and the range that such numbers can lie in."""

    def __init__(self, values: Mapping[int, float] | Iterable[tuple[int, float]] = (), within: Range = ANY) -> None:
        super().__init__(values)
        self.within = within


def possible(metric: str, scale: float = 1) -> Range:
    """The range of a metric times `scale`: 0 to 1 for a fraction, from 0 on for a count, else any number."""
    name = metric if metric in FRACTIONS else metric.rstrip("0123456789").removesuffix("_")  # top5 is no layer's
    if name in FRACTIONS or name.endswith("sparsity") or name == "sparsity_hidden":
        return 0.0, scale
    return FROM_0 if name in COUNTS or name.endswith(("_ratio", "_fold")) else ANY


def within(values: Collection[float] | Mapping[int, float] | None) -> Range:
    """The range that numbers say they lie in; any, if they say nothing."""
    return values.within if isinstance(values, Measured) else ANY


def between(one: Range, other: Range) -> Range:
    """The range of a number of the range `one` minus a number of the range `other`."""
    return one[0] - other[1], one[1] - other[0]


def cut(end: float, to: Range, values: Collection[float]) -> float:
    """The end of an interval, or the end of the range that it lies beyond; `values` outside of the range refute it."""
    return min(max(end, to[0]), to[1]) if to[0] <= min(values) <= max(values) <= to[1] else end
