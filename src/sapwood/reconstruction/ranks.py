"""Ranks: the weight of lower rank whose outputs are nearest, for the inputs that a layer really reads."""

import torch
from torch import Tensor

from sapwood.reconstruction.normal import RIDGE, doubled
from sapwood.reconstruction.refitting import refit
from sapwood.reconstruction.units import staying


def reduced_rank(
    w_OI: Tensor, gram_II: Tensor, cross_IO: Tensor | None = None, *, sparsity: float, ridge: float = RIDGE
) -> tuple[Tensor, Tensor]:
    """The weight without round(sparsity * min(O, I)) of its ranks: U_k U_kᵀ w, U_k the main axes of the outputs w x.

    No weight of that rank gives outputs nearer to the wanted ones; `cross_IO` says which, as for `refit`. Returns w_OI
    in its own type and keep, bool [min(O, I)], the largest first. See `factors` for two matrices in place of one.

    *Paper:* Eckart & Young 1936 for w gram^(1/2); with `cross_IO` reduced rank regression (Izenman 1975).
    *Differs:* the axes are eigenvectors of w gram wᵀ, so that no square root of the Gram matrix is inverted.
    """
    w, gram, cross = doubled(w_OI, gram_II, cross_IO)
    full = min(w.shape)
    keep = torch.arange(full, device=w.device) < staying(full, sparsity)
    if cross is not None:
        w, _ = refit(w, gram, cross, keep=torch.ones(w.shape[1], dtype=torch.bool, device=w.device), ridge=ridge)
    if not bool(keep.all()):
        axes_OK = torch.linalg.eigh(w @ gram @ w.T).eigenvectors[:, -int(keep.sum()) :]
        w = axes_OK @ (axes_OK.T @ w)
    return w.to(w_OI.dtype), keep
