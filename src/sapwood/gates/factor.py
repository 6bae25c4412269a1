"""Factor: a number of 0 or more for each unit, under an L1 penalty; a unit whose factor has reached 0 goes.

    z = max(0, λ)

Paper: Huang & Wang, "Data-driven sparse structure selection", ECCV 2018, arXiv:1707.01213. λ starts at 1.
Differs: nothing known. It is `ProximalNesterov(..., positive=True)` that makes λ exactly 0.
"""

import math
from typing import final

import torch
from torch import Tensor, nn

from sapwood.gates.unit_gate import UnitGate


@final
class Factor(UnitGate):
    """Open at first; learns a scale, which may be above 1. Deterministic."""

    most = math.inf

    def __init__(self, units: int) -> None:
        super().__init__(units)
        self.value = nn.Parameter(torch.ones(units))

    def draw(self, x: Tensor | None) -> Tensor:
        """λ, [U]."""
        return self.value.clamp(min=0)

    def open(self) -> Tensor:
        """λ within [0, 1], [U]."""
        return self.value.clamp(0, 1)

    def keep(self) -> Tensor:
        """λ > 0, bool [U]."""
        return self.value.detach() > 0
