"""Clamp gate: one number for each unit, held within [0, 1]; a unit whose number has reached 0 goes.

    z = clip(λ, 0, 1),   and after every step of the optimiser λ <- clip(λ, 0, 1)

Paper: Wang, Zhang, Xie, Zhou, Su, Zhang, Hu, "Pruning from scratch", AAAI 2020, arXiv:1909.12579. From the authors'
code: λ starts at 1.
Differs: many units end at exactly 0 or 1, and `rank` orders these by how far open they have been on average, or by the
shadow, which is λ as it would be if nothing had been clipped; the authors leave them as a sort returns them.
"""

from typing import final

import torch
from torch import Tensor, nn

from sapwood.gates.unit_gate import UnitGate


@final
class Clamp(UnitGate):
    """Open at first; learns by how much. Deterministic. With `shadow` it remembers what clamping has taken off."""

    opened: Tensor  # the sum of the values after every step, [U]
    steps: Tensor
    clipped: Tensor | None  # the sum of what clamping has taken off, [U]

    def __init__(self, units: int, *, start: float = 1.0, shadow: bool = False) -> None:
        super().__init__(units)
        self.value = nn.Parameter(torch.full((units,), start))
        self.register_buffer("opened", torch.zeros(units))
        self.register_buffer("steps", torch.zeros(()))
        self.register_buffer("clipped", torch.zeros(units) if shadow else None)

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
        if self.clipped is not None:
            self.clipped.add_(self.value - self.value.clamp(0, 1))
        self.value.clamp_(0, 1)
        self.opened.add_(self.value)
        self.steps.add_(1)

    @torch.no_grad()
    def rank(self) -> Tensor:
        """What to rank units by, [U]: λ; below all others those at 0, above them those at 1, by their mean so far.

        With `shadow` those at 0, and those at 1, by λ plus all that clamping has taken off.
        """
        low, high = self.opened / self.steps.clamp(min=1) - 2, self.opened / self.steps.clamp(min=1) + 1
        if self.clipped is not None:
            shadow = (self.value + self.clipped).double()
            low, high = shadow / (1 + shadow.abs()) - 1, shadow / (1 + shadow.abs()) + 2  # in the order of the shadow
        return torch.where(self.value <= 0, low, torch.where(self.value >= 1, high, self.value))
