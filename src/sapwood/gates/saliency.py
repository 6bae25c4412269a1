"""Saliency gate: each sample opens the units that a small module, shown what their layer is given, finds worth it.

    u = mean of the layer's input over positions,   a = W2 relu(W1 norm(u)) + b,   W1 of max(8, units / 4) rows
    in training   m = 1[a + n e > 0], e logistic noise, n `noise`; backwards it is σ((a + n e) / τ)
    evaluated     m = 1[a > 0]
    open          σ(a): at n = 1 the probability that m = 1

Paper: Chen, Zhu, Li, Zhao, "Self-adaptive network pruning", ICONIP 2019, arXiv:1910.08906.
Differs: a reconstruction. The paper says that the layer's input is pooled, passes fully connected layers, and that what
they give is made binary with a substitute for the gradient. Widths, b = `start`, τ, the noise (Gumbel's, of two
choices) and that the `least` share of each layer's units, those of the highest a, are always open are ours. So is the
norm, a batch norm without scales: channels' means differ more from channel to channel than from sample to sample, and
without it all samples soon decided alike.
"""

import math
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sapwood.errors import InputError
from sapwood.gates.unit_gate import UnitGate

TINY = 1e-6  # uniform draws stay as far from 0 and 1: their logits are finite


@final
class Saliency(UnitGate):
    """Decides for each sample which units are open, from the mean of each of the `reads` channels of the layer's input.

    Not `awake`, it leaves all of them open. No unit goes for good, so there is nothing to bake.
    """

    per_sample = True
    mean: Tensor  # of u, over samples
    variance: Tensor
    noise: Tensor  # how much of it there is in training, from 0 to 1
    awake: Tensor

    def __init__(self, units: int, *, reads: int, start: float = 2.0, tau: float = 2 / 3, least: float = 0.1) -> None:
        super().__init__(units)
        if type(reads) is not int or reads < 1 or not abs(start) <= 50 or not tau > 0 or not 0 <= least <= 1:
            raise InputError(f"{reads=}, {start=}, {tau=}, {least=}: give the number of channels of the layer's input, "
                             "a start within -50..50, a temperature above 0 and a share in [0, 1]")  # fmt: skip
        self.reads, self.hidden, self.tau = reads, max(8, units // 4), tau
        self.least = max(1, math.ceil(least * units - 1e-9))
        self.inner = nn.Parameter(_drawn(self.hidden, reads))
        self.outer = nn.Parameter(_drawn(units, self.hidden))
        self.bias = nn.Parameter(torch.full((units,), float(start)))
        self.register_buffer("mean", torch.zeros(reads))
        self.register_buffer("variance", torch.ones(reads))
        self.register_buffer("noise", torch.ones(()))
        self.register_buffer("awake", torch.ones((), dtype=torch.bool))
        self.scores: Tensor | None = None  # a of the last draw, [B, U]
        self.passed: Tensor | None = None  # what it let through, [B, U]

    @property
    def macs(self) -> int:
        """The multiply-adds of the module itself, for one sample."""
        return (self.reads + self.units) * self.hidden

    def draw(self, x: Tensor | None) -> Tensor:
        """m, [B, U] for each of the B samples of x; backwards the slope of σ((a + n e) / τ)."""
        self.scores = a = self.score(self.pooled(x))
        if self.training:
            e = torch.rand_like(a).clamp(TINY, 1 - TINY).logit()
            a = a + self.noise * e
        soft, hard = torch.sigmoid(a / self.tau), self.decided(a)
        self.passed = hard.to(a) + (soft - soft.detach()) * self.awake
        return self.passed

    def pooled(self, x: Tensor | None) -> Tensor:
        """u, [B, reads]: the mean of each channel of x [B, reads, ...] over all positions."""
        if x is None or x.dim() < 2 or x.shape[1] != self.reads:
            raise InputError(f"a saliency gate reads [samples, {self.reads}, ...], and its layer is given "
                             f"{None if x is None else [*x.shape]}; make it with reads= the layer's inputs, and put it "
                             "on a layer whose channels are the second dimension")  # fmt: skip
        return x.flatten(2).mean(2) if x.dim() > 2 else x

    def score(self, u: Tensor) -> Tensor:
        """a, [B, U] of the means u [B, reads]."""
        u = F.batch_norm(u, self.mean, self.variance, training=self.training and len(u) > 1)
        inner = F.linear(u, self.inner.view(self.hidden, self.reads)).relu()
        return F.linear(inner, self.outer.view(self.units, self.hidden), self.bias)

    def decided(self, a: Tensor) -> Tensor:
        """Which units are open by their scores a, bool [B, U]: above 0, or a sample's `least` highest; asleep all."""
        return (a > 0) | (a >= a.topk(self.least, -1).values[..., -1:]) | ~self.awake

    def open(self) -> Tensor:
        """σ(a) of the last draw, [B, U]; 1 where it is not awake."""
        if self.scores is None:
            raise InputError("a saliency gate has seen no sample yet; show the gated network a batch first")
        return torch.where(self.awake, torch.sigmoid(self.scores), 1.0)

    def keep(self) -> Tensor:
        """True for every unit, [U]: each is of use to some sample, and stays."""
        return torch.ones(self.units, dtype=torch.bool, device=self.bias.device)

    def set_(self, *, awake: bool, noise: float) -> None:
        """Whether it decides at all, and how much noise there is in training; a checkpoint keeps both."""
        self.awake.fill_(awake)
        self.noise.fill_(noise)

    def __getstate__(self) -> dict[str, Any]:
        """Without what belongs to a pass, which has a graph and cannot be copied."""
        return {**vars(self), "scores": None, "passed": None}


def _drawn(rows: int, columns: int) -> Tensor:
    """First weights of a linear layer, as torch draws them, flat."""
    bound = columns**-0.5
    return torch.empty(rows * columns).uniform_(-bound, bound)
