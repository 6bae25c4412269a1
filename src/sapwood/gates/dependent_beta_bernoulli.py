"""Dependent beta-Bernoulli gate: a unit is open with a probability that also depends on what the unit is, by sample.

    h = mean of the unit over positions,   c = clip(γ (h - μ) / s + β, ε, 1 - ε),   β ~ N(η, σ²), one draw a pass
    in training   z = z1 z2,  z1 of `beta_bernoulli`,  z2 = σ((logit c + logit v) / τ),  v uniform, one for each sample
    evaluated     z = E[π] c with η for β, where that is above `threshold`, else 0
    open          E[π] c with η for β: the probability that the unit is open for the sample
    penalty       that of `beta_bernoulli` + Σ KL(N(η, σ²) ‖ N(0, ρ²)) = log(ρ / σ) + (σ² + η²) / 2 ρ² - 1/2
    μ and s are of the batch in training, and of batches so far in evaluation; σ = softplus(σ')

Paper: Lee, Kim, Yoon, Cho, Kim, Hwang, Hong, "Adaptive network sparsification with dependent variational
beta-Bernoulli dropout", arXiv:1805.10896. From the authors' code: z as a product of two draws, no gradient through h,
ρ² = 5, η = 1 and σ = 1 at first, τ and `threshold`.
Differs: ε is 1e-6, theirs 1e-10, which is 0 beside 1 in single precision; the penalty has its constant, so that it is 0
where both are the same. They train the part that does not depend on samples first, and then the rest alone: `base` is
that part, to be loaded from a `BetaBernoulli` and to be left out of the optimiser. Where several layers make a site's
units, the first that is called decides.
"""

import math
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sapwood.errors import InputError
from sapwood.gates.beta_bernoulli import ONE, TINY, BetaBernoulli
from sapwood.gates.unit_gate import Sees, UnitGate


@final
class DependentBetaBernoulli(UnitGate):
    """Decides for each sample by what its units are; those that `base` gives up are closed for all.

    A unit has to be computed before it is closed, so that what is left out is in the layers that read it.
    """

    per_sample = True
    sees: Sees = "units"
    mean: Tensor  # of h, over samples
    variance: Tensor

    def __init__(
        self, units: int, *, shift: float = 1.0, rho: float = math.sqrt(5), start: float = 2.0, alpha: float = 1e-4,
        tau: float = 0.1, threshold: float = 1e-3,
    ) -> None:  # fmt: skip
        super().__init__(units)
        if not abs(shift) <= 50 or not rho > 0:
            raise InputError(f"{shift=}, {rho=}: give a shift within -50..50, and a deviation of the prior above 0")
        self.base = BetaBernoulli(units, start=start, alpha=alpha, tau=tau, threshold=threshold)
        self.rho = rho
        self.scale = nn.Parameter(torch.ones(units))
        self.shift = nn.Parameter(torch.full((units,), float(shift)))
        self.deviation = nn.Parameter(torch.full((units,), ONE))
        self.register_buffer("mean", torch.zeros(units))
        self.register_buffer("variance", torch.ones(units))
        self.seen: Tensor | None = None  # h of the last draw, [B, U], with its graph: costs have slopes through it

    def draw(self, x: Tensor | None) -> Tensor:
        """z, [B, U], of the means h, x [B, U], of each sample's units."""
        if x is None or x.dim() != 2 or x.shape[1] != self.units:
            raise InputError(f"a dependent gate is given what its units are, [samples, {self.units}], not "
                             f"{None if x is None else [*x.shape]}: `Gated` sees to that")  # fmt: skip
        self.seen, batch = x, self.training and len(x) > 1
        c = F.batch_norm(x.detach(), self.mean, self.variance, self.scale, self.shift, batch)
        if not self.training:
            z = self.base.open() * self.base.keep() * c.clamp(TINY, 1 - TINY)
            return torch.where(z > self.base.threshold, z, 0.0)
        noisy = (c + F.softplus(self.deviation) * torch.randn_like(self.deviation)).clamp(TINY, 1 - TINY)
        v = torch.rand_like(noisy).clamp(TINY, 1 - TINY)
        return self.base.draw(x) * torch.sigmoid((noisy.logit() + v.logit()) / self.base.tau)

    def open(self) -> Tensor:
        """E[π] c of the last draw, [B, U]."""
        if self.seen is None:
            raise InputError("a dependent gate has seen no sample yet; show the gated network a batch first")
        batch = self.training and len(self.seen) > 1
        mean, variance = (None, None) if batch else (self.mean, self.variance)
        c = F.batch_norm(self.seen, mean, variance, self.scale, self.shift, batch)
        return self.base.open() * c.clamp(TINY, 1 - TINY)

    def keep(self) -> Tensor:
        """What `base` keeps, bool [U]: the others are closed for every sample."""
        return self.base.keep()

    def penalty(self) -> Tensor:
        """The divergence of both posteriors, over all units."""
        variance, prior = F.softplus(self.deviation).square(), self.rho**2
        normal = (prior / variance).log() + (variance + self.shift.square()) / prior - 1
        return self.base.penalty() + normal.sum() / 2

    def __getstate__(self) -> dict[str, Any]:
        """Without what belongs to a pass: it has a graph and cannot be copied."""
        return {**vars(self), "seen": None}
