"""Variational dropout: every weight has a variance of its own, and goes when that drowns its mean.

    q(w) = N(θ, σ²), the prior log-uniform, α = σ² / θ²; θ is the layer's weight, log σ² the gate's parameter
    in training   y = (θ x + b) + sqrt(σ² x² + 1e-8) ε,  ε ~ N(0, 1), one for each output   (local reparametrisation)
    evaluated     y = θ x + b, where every θ with log α >= threshold counts as 0
    penalty       Σ KL(α),  KL ≈ k1 - k1 sigmoid(k2 + k3 log α) + log(1 + 1 / α) / 2

Paper: Molchanov, Ashukha, Vetrov, "Variational dropout sparsifies deep neural networks", arXiv:1701.05369, ICML 2017;
the penalty is its equation 14, θ and σ² instead of θ and α its additive noise reparametrisation.
Differs: the penalty has the constant with which it goes to 0 as α grows. From the authors' code are the 1e-8 under the
logarithm and the root, log α within [-8, 8] in the penalty, and the mean being without the weights beyond the threshold
in training already (`clipped`). Ranking weights by log α is not in the paper.
"""

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sapwood import processes
from sapwood.errors import InputError
from sapwood.gates.weight_gate import WeightGate
from sapwood.scoring.layout import Layer, Straight

K1, K2, K3 = 0.63576, 1.87320, 1.48695
TINY = 1e-8  # a weight of 0 has a logarithm, an output of inputs 0 has a slope
WIDEST = 8.0  # log α beyond which the penalty is level


def log_alpha(w: Tensor, log_sigma2: Tensor) -> Tensor:
    """log α = log σ² - log(θ² + 1e-8), entry by entry: how far a weight's noise drowns it."""
    return log_sigma2 - (w.square() + TINY).log()


def divergence(log_alpha: Tensor) -> Tensor:
    """KL(q ‖ log-uniform prior) up to a constant, entry by entry; falls from 4.64 at log α <= -8 to 0 as α grows.

    Within 0.01 of -log(α) / 2 + E log|1 + sqrt(α) ε| + (γ + log 2) / 2, which it approximates, γ Euler's constant.
    """
    a = log_alpha.clamp(-WIDEST, WIDEST)
    return K1 * torch.sigmoid(-(K2 + K3 * a)) + F.softplus(-a) / 2


@final
class VariationalDropout(WeightGate):
    """The noise that a layer's weights would have made, added to its outputs; biases have none."""

    def __init__(
        self, weight: Tensor, *, log_sigma2: float = -10.0, threshold: float = 3.0, clipped: bool = True
    ) -> None:
        super().__init__()
        processes.refuse_sharded(weight, "put gates on it")
        if not abs(log_sigma2) <= 50:
            raise InputError(f"log_sigma2 is {log_sigma2}; give the logarithm of a variance, within -50..50")
        self.threshold, self.clipped = threshold, clipped
        self.log_sigma2 = nn.Parameter(torch.full_like(weight.detach().flatten(), log_sigma2))

    def act(self, layer: Layer, x: Tensor, y: Tensor) -> Tensor:
        """The mean plus noise in training; in evaluation the mean, made by the weights that are kept."""
        mean = _applied(layer, x, layer.weight * self.keep(layer.weight), layer.bias) if self._without() else y
        if not self.training:
            return mean
        variance = _applied(layer, x.square(), self.log_sigma2.exp().view_as(layer.weight), None)
        return mean + (variance + TINY).sqrt() * torch.randn_like(mean)

    def score(self, w: Tensor) -> Tensor:
        """-log α."""
        return -log_alpha(w, self.log_sigma2.view_as(w))

    @torch.no_grad()
    def keep(self, w: Tensor) -> Tensor:
        """log α < threshold."""
        return log_alpha(w, self.log_sigma2.view_as(w)) < self.threshold

    def penalty(self, w: Tensor) -> Tensor:
        """Σ KL(α) over the weights."""
        return divergence(log_alpha(w, self.log_sigma2.view_as(w))).sum()

    def _without(self) -> bool:
        """Whether weights beyond the threshold are missing from the mean."""
        return self.clipped or not self.training


def _applied(layer: Layer, x: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
    """What the layer would answer with other weights."""
    if isinstance(layer, nn.Linear):
        return F.linear(x, w, bias)
    if not isinstance(layer, Straight):
        raise InputError(f"{layer} can have no noise on its weights; gate Linear and Conv1d-3d layers only")
    y: Tensor = layer._conv_forward(x, w, bias)
    return y
