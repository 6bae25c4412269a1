"""Hard concrete gate: a random number from 0 to 1 for each unit that is exactly 0, or exactly 1, with a probability.

    in training   z = clip(s (h - l) + l, 0, 1),   s = σ((logit u + log α) / β),   u uniform on (0, 1), one draw a pass
    P(z > 0)      σ(log α - β log(-l / h))
    evaluated     the round(U - Σ P(z > 0)) units of the lowest log α are 0, the others σ(0.8 log α / β)

Paper: Louizos, Welling, Kingma, "Learning sparse neural networks through L0 regularization", arXiv:1712.01312, ICLR
2018, equations 10 to 12, with l = -0.1, h = 1.1. The evaluation is that of Wang, Wohlwend, Lei, "Structured pruning of
large language models", arXiv:1910.04732, EMNLP 2020, from the authors' code; theirs are also β = 1 and u within
[1e-6, 1 - 1e-6].
Differs: for another β than 1 the others are those of Louizos et al., equation 13: clip(σ(log α / β) (h - l) + l, 0, 1).
A unit that stays is 1e-6 at least, so that 0 always means removed. All log α start at the same value, without noise.
"""

import math
from typing import final

import torch
from torch import Tensor, nn

from sapwood.errors import InputError
from sapwood.gates.unit_gate import UnitGate

LOW, HIGH, TINY = -0.1, 1.1, 1e-6


@final
class HardConcrete(UnitGate):
    """Units open with a probability that is learned; `drop` is the probability with which s is below 1/2 at first."""

    def __init__(self, units: int, *, drop: float = 0.05, beta: float = 1.0) -> None:
        super().__init__(units)
        if not 0 < drop < 1 or not beta > 0:
            raise InputError(f"drop={drop}, beta={beta}: give a probability in (0, 1), and a temperature above 0")
        self.beta = beta
        self.log_alpha = nn.Parameter(torch.full((units,), math.log((1 - drop) / drop)))

    def draw(self, x: Tensor | None) -> Tensor:
        """z, [U]."""
        a = self.log_alpha
        if not self.training:
            return self.soft() * self.keep()
        u = torch.rand_like(a).clamp(TINY, 1 - TINY)
        return _stretched(torch.sigmoid((u.logit() + a) / self.beta))

    def soft(self) -> Tensor:
        """What a unit that stays is multiplied by when evaluated, about E[z], of all units [U]."""
        a = self.log_alpha
        whole = torch.sigmoid(0.8 * a) if self.beta == 1 else _stretched(torch.sigmoid(a / self.beta))
        return whole.clamp(min=TINY)

    def open(self) -> Tensor:
        """P(z > 0), [U]."""
        return torch.sigmoid(self.log_alpha - self.beta * math.log(-LOW / HIGH))

    @torch.no_grad()
    def keep(self) -> Tensor:
        """All but the round(U - Σ P(z > 0)) units of the lowest log α, bool [U]; of equals the first go."""
        gone = round(self.units - float(self.open().sum()))
        keep = torch.ones(self.units, dtype=torch.bool, device=self.log_alpha.device)
        keep[self.log_alpha.argsort(stable=True)[:gone]] = False
        return keep

    def penalty(self) -> Tensor:
        """The expected number of open units."""
        return self.open().sum()


def _stretched(s: Tensor) -> Tensor:
    return (s * (HIGH - LOW) + LOW).clamp(0, 1)
