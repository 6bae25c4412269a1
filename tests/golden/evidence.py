"""Worked sums: five samples through a layer of three inputs and two neurons, and every statistic by hand.

    y = W x + b:   sample   x         y         target
                   1         1 1  2    0  3     1
                   2         2 0 -3    2  0     0
                   3        -1 1  1   -2 -2     2
                   4         3 1  0    2  5     1
                   5         0 0  2    0  1     0

Two outputs are exactly 0: they are not active. The loss is the sum over samples of target * (y1 + 2 y2), so that the
gradient of a sample's outputs is its target times (1, 2).
"""

import torch
from torch import nn

from sapwood.checks import Laws
from sapwood.checks.law import demand
from sapwood.scoring.observation import observe
from sapwood.scoring.statistics import STATISTICS
from sapwood.training.task import Batch

WEIGHT, BIAS = [[1, -1, 0], [2, 0, 1]], [0, -1]
INPUTS, TARGETS = [[1, 1, 2], [2, 0, -3], [-1, 1, 1], [3, 1, 0], [0, 0, 2]], [1, 0, 2, 1, 0]

GOLDEN = {
    "count": 5,
    "active": [2, 3],
    "inactive": [3, 2],
    "output_sum": [2 + 2, 3 + 5 + 1],
    "output_square": [4 + 4, 9 + 25 + 1],
    "input_square": [1 + 4 + 1 + 9, 1 + 1 + 1, 4 + 9 + 1 + 4],
    "gram": [[15, 1 - 1 + 3, 2 - 6 - 1], [3, 3, 2 + 1], [-5, 3, 18]],
    "cross": [[15 - 3, 30 - 5], [3 - 3, 6 + 3], [-5 - 3, -10 + 18]],
    "weight_grad": [[1 - 2 + 3, 1 + 2 + 1, 2 + 2], [4, 8, 8]],
}


def laws() -> Laws:
    """One law for each statistic: the sums worked out by hand."""
    return {f"statistic {name}: the sums worked out by hand": lambda name=name: _agrees(name) for name in STATISTICS}


def _agrees(name: str) -> None:
    demand(name in GOLDEN, f"work out the sums of {name!r} by hand and add them to tests/golden/evidence.py")
    model = nn.Sequential(nn.Linear(3, 2)).double()
    model.load_state_dict({"0.weight": torch.tensor(WEIGHT), "0.bias": torch.tensor(BIAS)})
    batch = Batch(torch.tensor(INPUTS, dtype=torch.float64), torch.tensor(TARGETS))
    found = observe(model, [batch], STATISTICS[name], loss=_loss, only=["0"])["0"][name]
    demand(found.tolist() == GOLDEN[name], f"{found.tolist()}, by hand {GOLDEN[name]}")


def _loss(outputs, batch):
    return (batch.targets * (outputs[:, 0] + 2 * outputs[:, 1])).sum()
