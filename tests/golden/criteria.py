"""Worked numbers: one 2 x 3 weight, what its two neurons were seen to do, and every criterion's scores by hand.

The neurons saw four samples. The first put out 3, 2, 1 and -5, the second -2, 1, -1 and 0: after the ReLU they fired
3 and 1 times and were silent 1 and 3 times; their outputs sum to 6 and 1.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from sapwood.checks import Laws
from sapwood.checks.law import demand
from sapwood.criteria import CRITERIA

WEIGHT = [[1, -2, 3], [-4, 0.5, 0]]
SEEN = {"count": 4, "active": [3, 1], "inactive": [1, 3], "output_sum": [6, 1]}
HASHES = [[0x9A889EE2, 0x75A5794F, 0x230AD3D1], [0xDD9C52E5, 0x06C49047, 0]]


class Worked(NamedTuple):
    """Scores of `weight` given `seen`; of neurons, one number each."""

    scores: list
    weight: list = WEIGHT
    seen: dict = SEEN


GOLDEN = {
    "magnitude": Worked([[1, 2, 3], [4, 0.5, 0]]),
    "activity": Worked([3, 1]),
    "active_magnitude": Worked([[3 * 1, 3 * 2, 3 * 3], [1 * 4, 1 * 0.5, 1 * 0]]),
    "apoz": Worked([3 / 4, 1 / 4]),
    "mean_activation": Worked([6 / 4, 1 / 4]),
    "inactive": Worked([1, 3]),
    "inactive_magnitude": Worked([[1 * 1, 1 * 2, 1 * 3], [3 * 4, 3 * 0.5, 3 * 0]]),
    # Squares 1 4 9 16 1/4 0; the sums of those not below them: 30, 29, 25, 16, 30 1/4.
    "lamp": Worked([[1 / 30, 4 / 29, 9 / 25], [1, 0.25 / 30.25, 0]]),
    "snip": Worked([[2, 2, 3], [2, 2, 0]], seen={"weight_grad": [[2, 1, -1], [0.5, -4, 8]]}),
    "wanda": Worked([[1, 4, 9], [4, 1, 0]], seen={"input_square": [1, 4, 9]}),
    # Each weight hashed, modulo 2^32 throughout: the upper half of 1 = 0x3FF0000000000000 times 0x9E3779B1 is
    # 0xA4F00000, which the finaliser makes 0x9A889EE2. The others likewise, in whole numbers of any length; 0 stays 0.
    "random_": Worked([[h / 2**32 for h in row] for row in HASHES]),
    "random_neuron": Worked([0x3338EC02 / 2**32, 0xE460E32C / 2**32]),  # the rows' sums, modulo 2^32
}


def laws() -> Laws:
    """One law for each criterion: the scores worked out by hand."""
    return {f"criterion {name}: the scores worked out by hand": lambda name=name: _agrees(name) for name in CRITERIA}


def _agrees(name: str) -> None:
    demand(name in GOLDEN, f"work out the scores of {name!r} by hand and add them to tests/golden/criteria.py")
    scores, weight, seen = GOLDEN[name]
    found = CRITERIA[name].score(_tensor(weight), {statistic: _tensor(value) for statistic, value in seen.items()})
    demand(torch.equal(found.double(), _tensor(scores)), f"{found.tolist()}, by hand {scores}")


def _tensor(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)
