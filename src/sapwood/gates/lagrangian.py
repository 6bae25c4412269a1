"""Lagrangian: holds what gates remove to a target while they learn; two multipliers learn against the loss.

    loss + λ1 (s - t) + λ2 (s - t)²,   t = target * min(1, step / warmup);  gates minimise, λ1 and λ2 maximise

s is the share that gates remove in expectation: 1 - cost(gated.open()) / cost({}), for any cost and any gate.
Paper: Wang, Wohlwend, Lei, "Structured pruning of large language models", arXiv:1910.04732, EMNLP 2020; from the
authors' code: λ1 and λ2 begin at 0, Adam moves them.
Differs: nothing known. The target is met about, not exactly, with multipliers that learn as fast as gates and as many
steps after the warm-up as in it; λ2 only grows. For an exact size rank units by their gates in the end (`fewest`).
"""

import torch
from torch import Tensor, nn
from torch.optim import Adam

from sapwood.errors import InputError


class Lagrangian(nn.Module):
    """What is added to the loss so that the share `target` is removed, after a warm-up of so many steps.

    Its two parameters are its state. In a run give them to `Gated(..., extra=dict(held.named_parameters()))`, which a
    checkpoint holds, and their optimiser to `Together(..., held.ascent(rate))`.

    >>> held = Lagrangian(0.5, warmup=100)
    >>> held.at(50), held.at(200)
    (0.25, 0.5)
    """

    def __init__(self, target: float, *, warmup: int = 0) -> None:
        super().__init__()
        if not 0 <= target < 1 or type(warmup) is not int or warmup < 0:
            raise InputError(f"{target=}, {warmup=}: give the share to be removed, in [0, 1), and a number of steps")
        self.target, self.warmup = target, warmup
        self.linear, self.square = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(()))

    def at(self, step: int) -> float:
        """The target at a step, the first being 0."""
        return self.target * step / self.warmup if step < self.warmup else self.target

    def forward(self, removed: Tensor, step: int) -> Tensor:
        """λ1 (s - t) + λ2 (s - t)², a scalar, for s the share that is `removed` now."""
        gap = removed - self.at(step)
        return self.linear * gap + self.square * gap**2

    def ascent(self, rate: float) -> Adam:
        """The optimiser of the multipliers: it climbs."""
        return Adam(self.parameters(), lr=rate, maximize=True)
