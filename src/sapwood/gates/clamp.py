"""Clamp gate: one number for each unit, held within [0, 1]; a unit whose number has reached 0 goes.

    z = clip(λ, 0, 1),   and after every step of the optimiser λ <- clip(λ, 0, 1)

Paper: Wang, Zhang, Xie, Zhou, Su, Zhang, Hu, "Pruning from scratch", AAAI 2020, arXiv:1909.12579. From the authors'
code: λ starts at 1.
Differs: many units end at exactly 0 or 1, and `rank` orders these by how far open they have been on average; the
authors leave them in the order in which a sort returns them.
"""

from typing import final

import torch
from torch import Tensor, nn

from sapwood.gates.unit_gate import UnitGate


@final
class Clamp(UnitGate):
    """Open at first; learns by how much. Deterministic."""

    opened: Tensor  # the sum of the values after every step, [U]
    steps: Tensor

    def __init__(self, units: int, *, start: float = 1.0) -> None:
        super().__init__(units)
        self.value = nn.Parameter(torch.full((units,), start))
        self.register_buffer("opened", torch.zeros(units))
        self.register_buffer("steps", torch.zeros(()))

    def draw(self, x: Tensor | None) -> Tensor:
        """λ within [0, 1], [U]."""
        return self.value.clamp(0, 1)

    def open(self) -> Tensor:
        """The same, [U]."""
        return self.draw(None)

    def keep(self) -> Tensor:
        """λ > 0, bool [U]."""
        return self.value.detach() > 0

    @torch.no_grad()
    def clamp_(self) -> None:
        """Put λ back into [0, 1]; call it after every step."""
        self.value.clamp_(0, 1)
        self.opened.add_(self.value)
        self.steps.add_(1)

    @torch.no_grad()
    def rank(self) -> Tensor:
        """What to rank units by, [U]: λ; below all others those at 0, above them those at 1, by their mean so far."""
        mean = self.opened / self.steps.clamp(min=1)
        return torch.where(self.value <= 0, mean - 2, torch.where(self.value >= 1, mean + 1, self.value))
