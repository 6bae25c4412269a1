"""Spectrum: the singular values of a layer's weights and the several numbers that are called its rank.

w_OI is the weight as a matrix, one row per neuron or filter, convolutions flattened to [O, I * kernel positions].
σ_1 >= σ_2 >= ... are its singular values.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sapwood import processes
from sapwood.errors import InputError, unknown
from sapwood.scoring.answers import hidden
from sapwood.scoring.layers import chosen, prunable
from sapwood.scoring.layout import Layer, matrix

Tolerance = Literal["numpy float32"] | float


@dataclass(frozen=True)
class Spectrum:
    """All measures of one layer's weight, from one decomposition."""

    layer: str
    outputs: int  # O
    inputs: int  # I, times kernel positions
    live_columns: int
    rank: int  # at the tolerance asked for
    rank_at_1_percent: int  # σ > 0.01 σ_1
    stable_rank: float
    effective_rank: float
    nuclear_norm: float
    singular_values: tuple[float, ...] = field(repr=False)  # descending


def spectrum(
    model: nn.Module, only: Collection[str] | None = None, *, tolerance: Tolerance = "numpy float32"
) -> tuple[Spectrum, ...]:
    """One row per Linear or Conv layer (of those in `only`), each from a single decomposition.

    >>> [(row.layer, row.rank) for row in measure.spectrum(nn.Sequential(nn.Linear(6, 3)))]
    [('0', 3)]
    """
    weights = ((name, matrix(layer, processes.whole(layer.weight))) for name, layer in chosen(model, only).items())
    return tuple(_row(name, w_OI, tolerance) for name, w_OI in weights)


def singular_values(w: Tensor) -> Tensor:
    """σ_1 >= σ_2 >= ..., float64 whatever the weight's precision, [min(O, I)]."""
    if w.ndim < 2 or w.numel() == 0:
        raise InputError(f"weight of shape {tuple(w.shape)} has no singular values; give [outputs, inputs, ...]")
    if not bool(torch.isfinite(w).all()):
        raise InputError(f"weight of shape {tuple(w.shape)} holds NaN or infinite values; it has no singular values")
    sigma: Tensor = torch.linalg.svdvals(as_matrix(w.detach()).double())
    return sigma


def rank(w: Tensor, tolerance: Tolerance = "numpy float32") -> int:
    """The number of singular values above a tolerance: #{i : σ_i > tol}; 0 for a matrix of zeros.

    "numpy float32": tol = σ_1 * max(O, I) * 2^-23, the default of NumPy's `matrix_rank` for float32 input (2^-23 is
    float32's eps), whatever the precision of w. A number t in [0, 1): tol = t * σ_1.
    *Differs:* decomposed in float64; NumPy's float32 decomposition can fall on the other side where σ_i is tol within
    its rounding errors.
    """
    return _rank(singular_values(w), max(as_matrix(w).shape), tolerance)


def nuclear_norm(w: Tensor) -> float:
    """Σ σ_i. `sapwood.losses.nuclear_norm` is the same number with a gradient."""
    return float(singular_values(w).sum())


def stable_rank(w: Tensor) -> float:
    """‖W‖_F² / σ_1² = Σ (σ_i / σ_1)²: never above the rank, hardly moved by small σ; 0 for a matrix of zeros."""
    return _stable_rank(singular_values(w))


def effective_rank(w: Tensor) -> float:
    """exp(-Σ p_i ln p_i) with p_i = σ_i / Σ σ: the rank of a flat spectrum as spread out; 0 for a matrix of zeros.

    *Paper:* Roy & Vetterli 2007, "The effective rank", definition 1.
    """
    return _effective_rank(singular_values(w))


def live_columns(w: Tensor) -> int:
    """How many neurons have incoming weights that are not all 0.

    Named after the paper's kernels [inputs, neurons], whose columns these are; in PyTorch's [O, I] they are rows.
    """
    return int(as_matrix(w).any(1).sum())


def dead_share(model: nn.Module, example: Any = None) -> float:
    """The share of all weights (not biases) that belong to hidden neurons that are all 0 under a bias of at most 0.

    Behind a ReLU no gradient reaches such a neuron: without masks all other zeros can grow back, these never do.
    example: what the model is called with, where it takes that to tell which layers are hidden (see `hidden`).
    """
    layers = prunable(model)
    dead = sum(_dead(layers[name]) for name in (hidden(model, example) if len(layers) > 1 else ()))
    return dead / sum(p.numel() for p in model.parameters() if p.dim() > 1)


def _dead(layer: Layer) -> int:
    w_OI = matrix(layer, processes.whole(layer.weight).detach())
    off = ~w_OI.any(1)
    off = off if layer.bias is None else off & (processes.whole(layer.bias).detach() <= 0)
    return int(off.sum()) * w_OI.shape[1]


def as_matrix(w: Tensor) -> Tensor:
    """w_OI: one row per output, one column per input (times kernel position); a vector is one row."""
    return w.flatten(1) if w.ndim > 1 else w.reshape(1, -1)


def _row(name: str, weight: Tensor, tolerance: Tolerance) -> Spectrum:
    sigma, (outputs, inputs) = singular_values(weight), as_matrix(weight).shape
    return Spectrum(
        layer=name,
        outputs=outputs,
        inputs=inputs,
        live_columns=live_columns(weight),
        rank=_rank(sigma, max(outputs, inputs), tolerance),
        rank_at_1_percent=_rank(sigma, max(outputs, inputs), 0.01),
        stable_rank=_stable_rank(sigma),
        effective_rank=_effective_rank(sigma),
        nuclear_norm=float(sigma.sum()),
        singular_values=tuple(sigma.tolist()),
    )


def _rank(sigma: Tensor, longer_side: int, tolerance: Tolerance) -> int:
    if isinstance(tolerance, str):
        if tolerance != "numpy float32":
            raise unknown("rank tolerance", tolerance, ["numpy float32"])
        tolerance = longer_side * torch.finfo(torch.float32).eps
    elif not 0 <= tolerance < 1:
        raise InputError(f"rank tolerance is {tolerance}; it is relative to the largest singular value, in [0, 1)")
    return int((sigma > sigma[0] * tolerance).sum())


def _stable_rank(sigma: Tensor) -> float:
    return float((sigma / sigma[0]).square().sum()) if sigma[0] > 0 else 0.0


def _effective_rank(sigma: Tensor) -> float:
    if not sigma[0] > 0:
        return 0.0
    share = sigma / sigma[0]  # first by the largest, then by the sum: the sum itself may overflow
    share = share / share.sum()
    return float(torch.special.entr(share).sum().exp())
