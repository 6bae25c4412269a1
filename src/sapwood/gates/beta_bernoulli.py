"""Beta-Bernoulli gate: each unit is open with a probability π that has a distribution of its own, which is learned.

    π = (1 - u^(1/b))^(1/a),  u uniform on (0, 1), one draw a pass: the posterior Kumaraswamy(a, b)
    in training   z = σ((logit π + logit v) / τ),  v uniform on (0, 1), one draw for each sample
    evaluated     z = E[π] = b B(1 + 1/a, b), B the beta function, where that is above `threshold`, else 0
    penalty       Σ KL(posterior ‖ Beta(α, 1)) = Σ (1 - α/a) (-γ - ψ(b) - 1/b) + log(a b / α) - (b - 1)/b
    a = softplus(max(a', -10)),  b = softplus(clip(b', -10, 50)),  γ Euler's constant, ψ the digamma function

Paper: Lee, Kim, Yoon, Cho, Kim, Hwang, Hong, "Adaptive network sparsification with dependent variational
beta-Bernoulli dropout", arXiv:1805.10896, without its dependence on the input; as Madaan, Shin, Hwang, ICML 2020,
arXiv:1908.04355 use it. From the latter's code: α = 1e-4 for all units alike, τ = 0.1, `threshold`, the clipping of
a', b' and of π to [1e-6, 1 - 1e-6], and b = 1 at first; `start` is a', for them -1 in LeNet-5 and 2 in convolutions of
VGG-16.
Differs: the units of the highest E[π] stay when no unit of a site is above the threshold.
"""

import math
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sapwood.errors import InputError
from sapwood.gates.unit_gate import UnitGate

EULER = 0.5772156649015329
TINY = 1e-6  # π and the uniform draws stay as far from 0 and 1: their logits are finite
ONE = math.log(math.e - 1)  # softplus of it is 1


@final
class BetaBernoulli(UnitGate):
    """Open with a learned probability; in training every sample has a mask of its own, evaluated all have the mean."""

    def __init__(
        self, units: int, *, start: float = 2.0, alpha: float = 1e-4, tau: float = 0.1, threshold: float = 1e-3
    ) -> None:
        super().__init__(units)
        if not abs(start) <= 50 or not alpha > 0 or not tau > 0 or not 0 <= threshold < 1:
            raise InputError(f"{start=}, {alpha=}, {tau=}, {threshold=}: give a start within -50..50, numbers above 0, "
                             "and a threshold in [0, 1)")  # fmt: skip
        self.alpha, self.tau, self.threshold = alpha, tau, threshold
        self.a = nn.Parameter(torch.full((units,), float(start)))
        self.b = nn.Parameter(torch.full((units,), ONE))

    @property
    def per_sample(self) -> bool:  # type: ignore[override]
        """Whether masks are drawn for each sample: in training only."""
        return self.training

    def draw(self, x: Tensor | None) -> Tensor:
        """z, [B, U] for each of the B samples of x in training, else [U]."""
        if not self.training:
            return self.open() * self.keep()
        shape = self.a.shape if x is None else (len(x), self.units)
        v = torch.rand(shape, dtype=self.a.dtype, device=self.a.device).clamp(TINY, 1 - TINY)
        log_pi = self._log_pi().clamp(math.log(TINY), math.log1p(-TINY))
        return torch.sigmoid((log_pi - torch.log(-torch.expm1(log_pi)) + v.logit()) / self.tau)

    def open(self) -> Tensor:
        """E[π], [U]."""
        a, b = (each.double() for each in self._shape())
        log_mean = b.log() + torch.lgamma(1 + 1 / a) + torch.lgamma(b) - torch.lgamma(1 + 1 / a + b)
        return log_mean.exp().clamp(max=1).to(self.a)

    @torch.no_grad()
    def keep(self) -> Tensor:
        """E[π] > threshold, bool [U]; where that is true of none, those of the highest E[π]."""
        mean = self.open()
        return mean >= mean.max() if bool((mean <= self.threshold).all()) else mean > self.threshold

    def penalty(self) -> Tensor:
        """Σ KL(posterior ‖ Beta(α, 1)) over the units."""
        a, b = self._shape()
        expected = -EULER - torch.digamma(b + 1)  # of a log π; ψ(b) + 1/b, without the difference of large numbers
        return ((1 - self.alpha / a) * expected + (a * b / self.alpha).log() - (b - 1) / b).sum()

    def _shape(self) -> tuple[Tensor, Tensor]:
        """a and b, [U] each."""
        return F.softplus(self.a.clamp(min=-10)), F.softplus(self.b.clamp(-10, 50))

    def _log_pi(self) -> Tensor:
        """The logarithm of a draw of π, [U]; by logarithms, since u^(1/b) of a small b leaves no digit."""
        a, b = self._shape()
        u = torch.rand_like(a).clamp(TINY, 1 - TINY)
        return torch.log(-torch.expm1(u.log() / b)) / a
