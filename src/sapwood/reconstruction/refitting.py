"""Refitting: the best values of the weights that are left, once it is known which."""

import torch
from torch import Tensor

from sapwood.errors import InputError
from sapwood.reconstruction.normal import RIDGE, doubled, size_of, solved


def refit(
    w_OI: Tensor, gram_II: Tensor, cross_IO: Tensor | None = None, *, keep: Tensor, ridge: float = RIDGE
) -> tuple[Tensor, Tensor]:
    """The kept weights by least squares, so that the outputs are as near as can be to those wanted.

    keep: bool [I], inputs that stay for all outputs, or [O, I], weights. `cross_IO` says what is wanted, as for inputs
    that have changed since; without it, what w_OI gives on the same inputs. Returns w_OI, 0 where it is not kept, in
    its own type, and `keep`. With everything kept and no `cross_IO` the weights come back bit by bit.
    Cost: one factorisation for each different row of `keep`.

    *Paper:* the last step of He, Zhang, Sun 2017 (arXiv 1707.06168) and of SparseGPT's comparison, for a fixed mask.
    *Differs:* a ridge of 1e-9 of the mean square of the inputs, towards the weights that are there, whose share is
    taken out again; no intercept, unless sums about the means are given (`centring.centred`).
    """
    w, gram, cross = doubled(w_OI, gram_II, cross_IO)
    _refuse_bad_keep(w, keep)
    amount = size_of(gram, ridge)
    kept_OI = keep.to(w.device).expand_as(w)
    found = w * kept_OI
    patterns, pattern_of_O = torch.unique(kept_OI, dim=0, return_inverse=True)
    for number, kept_I in enumerate(patterns):
        rows = (pattern_of_O == number).nonzero().flatten()
        found[rows] += _moves(found[rows], w[rows], gram, None if cross is None else cross[:, rows], kept_I, amount)
    return found.to(w_OI.dtype), keep


def _moves(found: Tensor, w: Tensor, gram: Tensor, cross: Tensor | None, kept_I: Tensor, ridge: float) -> Tensor:
    """What is added to the rows `found`, whose weights are those of `w` at `kept_I` and 0 elsewhere."""
    stay, gone = kept_I.nonzero().flatten(), kept_I.logical_not().nonzero().flatten()
    moves = torch.zeros_like(found)
    if len(stay):
        missing = gram[stay][:, gone] @ w[:, gone].T if cross is None else cross[stay] - gram[stay] @ found.T
        moves[:, stay] = solved(gram[stay][:, stay], missing, ridge, again=1).T
    return moves


def _refuse_bad_keep(w_OI: Tensor, keep: Tensor) -> None:
    if keep.dtype is not torch.bool or tuple(keep.shape) not in (tuple(w_OI.shape), tuple(w_OI.shape[1:])):
        raise InputError(
            f"keep is {keep.dtype} of shape {tuple(keep.shape)}; give torch.bool, one for each of the "
            f"{w_OI.shape[1]} inputs or for each of the weights {tuple(w_OI.shape)}"
        )
