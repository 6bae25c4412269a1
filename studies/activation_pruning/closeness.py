"""Closeness: how alike two ways of training shape the hidden layers, as one number.

    d(a, b) = sqrt(mean over quantities q, layers l, epochs t of ln(q_alt / q_blt)²)

q: nuclear norm, effective rank and stable rank of layer l at the end of epoch t, of two runs with the same seed. Each
is thought of as relative to the dense run's at that epoch, which cancels. d = 0.1: about 10 % apart, typically.
Pruning acts like a nuclear-norm penalty, by this measure, only if some penalty comes closer to it than pruning neurons
at random does: that, too, removes rank and nuclear norm.
"""

import math
from collections.abc import Iterator

from sapwood.study.seeds import Seeds
from sapwood.study.table import Table

from .found import LAYERS, course

LIKE, RANDOM = "V neurons", "V random neurons"  # what is compared with, and the yardstick
QUANTITIES = ("nuclear", "effective_rank", "stable_rank")


def distance(rows: Table, one: str, other: str, quantities: tuple[str, ...] = QUANTITIES) -> Seeds:
    """d between two rows, seed by seed, over the epochs that both have; where a quantity is 0 it is left out."""
    squares: dict[int, list[float]] = {}
    for quantity in quantities:
        for layer in LAYERS:
            for seed, square in _squares(rows, one, other, f"{quantity}_{layer}"):
                squares.setdefault(seed, []).append(square)
    return {seed: math.sqrt(sum(each) / len(each)) for seed, each in sorted(squares.items())}


def _squares(rows: Table, one: str, other: str, metric: str) -> Iterator[tuple[int, float]]:
    left, right = course(rows, one, metric), course(rows, other, metric)
    for seed in left.keys() & right.keys():
        for epoch in left[seed].keys() & right[seed].keys():
            a, b = left[seed][epoch], right[seed][epoch]
            if a > 0 and b > 0:
                yield seed, math.log(a / b) ** 2
