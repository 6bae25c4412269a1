"""LASSO: which channels a layer needs, by a penalty on their scales; then least squares for all weights that stay.

min over β of 1/2 |y - sum of β_c x_c|² + α |β|_1,     α the smallest at which no more than asked are not 0
"""

import numpy as np
import torch
from torch import Tensor

from sapwood.reconstruction.normal import RIDGE
from sapwood.reconstruction.refitting import refit
from sapwood.reconstruction.units import columns_of, contributions, staying

SWEEPS, HALVINGS = 200, 40  # at most
STILL = 1e-7  # a sweep after which no β has moved by more is the last


def lasso_channels(
    w_OI: Tensor,
    gram_II: Tensor,
    cross_IO: Tensor | None = None,
    *,
    sparsity: float,
    unit_of_I: Tensor | None = None,
    ridge: float = RIDGE,
) -> tuple[Tensor, Tensor]:
    """Without round(sparsity * units) of the layer's input units, and all weights that stay refitted.

    unit_of_I: the unit of each column, as `unit_of_columns` gives it; without it each column is one. Returns w_OI, 0 in
    the columns that go, in its own type, and keep, bool [units].

    *Paper:* He, Zhang, Sun 2017, "Channel pruning for accelerating very deep neural networks", arXiv 1707.06168.
    *Differs:* one pass, as the authors' code; α by halving until exactly as many are left, trimmed by |β| where the
    count jumps (they accept a tenth more); coordinates in order, not at random; all samples, through the Gram matrix;
    no intercept: biases stay.
    """
    found = contributions(w_OI, gram_II, cross_IO, unit_of_I=unit_of_I)
    units = len(found.wanted_U)
    count = staying(units, sparsity)
    beta = _beta(found.gram_UU.cpu().numpy(), found.wanted_U.cpu().numpy(), count) if count < units else np.ones(units)
    order = np.argsort(-np.abs(beta), kind="stable")  # of equals the first stays
    keep = torch.zeros(units, dtype=torch.bool, device=w_OI.device)
    keep[torch.from_numpy(order[:count].copy()).to(w_OI.device)] = True
    w, _ = refit(w_OI, gram_II, cross_IO, keep=columns_of(keep, unit_of_I), ridge=ridge)
    return w, keep


def _beta(gram: np.ndarray, wanted: np.ndarray, count: int) -> np.ndarray:
    """β at the largest α found that leaves at least `count` of them; exactly so many where that can be."""
    low, high = 0.0, float(np.abs(wanted).max())
    found = beta = _descended(gram, wanted, 0.0, np.zeros(len(wanted)))
    for _ in range(HALVINGS):
        if np.count_nonzero(found) == count or high == 0:
            break
        middle = (low + high) / 2
        beta = _descended(gram, wanted, middle, beta)
        if np.count_nonzero(beta) >= count:
            low, found = middle, beta
        else:
            high = middle
    return found


def _descended(gram: np.ndarray, wanted: np.ndarray, alpha: float, start: np.ndarray) -> np.ndarray:
    """Coordinate descent from `start`: each β in turn at its best, given the others."""
    beta, square = start.copy(), gram.diagonal()
    slope = wanted - gram @ beta
    for _ in range(SWEEPS):
        moved = 0.0
        for c in range(len(beta)):
            if square[c] <= 0:
                continue
            pull = slope[c] + square[c] * beta[c]
            best = np.sign(pull) * max(abs(pull) - alpha, 0.0) / square[c]
            step = best - beta[c]
            if step:
                slope -= step * gram[c]
                beta[c] = best
                moved = max(moved, abs(step))
        if moved <= STILL:
            break
    return beta
