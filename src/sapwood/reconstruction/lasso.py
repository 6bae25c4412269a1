"""LASSO: which channels a layer needs, by a penalty on their scales; then least squares for all weights that stay.

min over β of 1/2 |y - sum of β_c x_c|² + α |β|_1,     α the largest at which as many as asked are not 0
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sapwood.extras import optional
from sapwood.reconstruction.normal import RIDGE
from sapwood.reconstruction.refitting import refit
from sapwood.reconstruction.units import Contributions, columns_of, contributions, staying

STEPS = 8  # of the path, for each unit, at most: units may leave it and come back


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
    the columns that go, in its own type, and keep, bool [units]. MissingExtra: scikit-learn, which finds the path of
    the β from their Gram matrix, is not installed; the message is the line that installs it.

    *Paper:* He, Zhang, Sun 2017, "Channel pruning for accelerating very deep neural networks", arXiv 1707.06168.
    *Differs:* one pass, as the authors' code; the whole path, which passes through every count, so that exactly as many
    stay (they halve α until the count is at most a tenth above); all samples, through the Gram matrix, not 400 rows;
    no intercept, unless sums about the means are given (`centring.centred`).
    """
    found = contributions(w_OI, gram_II, cross_IO, unit_of_I=unit_of_I)
    units = len(found.wanted_U)
    count = staying(units, sparsity)
    keep = torch.zeros(units, dtype=torch.bool, device=w_OI.device)
    keep[_chosen(found, count) if count < units else torch.arange(units)] = True
    w, _ = refit(w_OI, gram_II, cross_IO, keep=columns_of(keep, unit_of_I), ridge=ridge)
    return w, keep


def lars() -> Callable[..., Any]:
    """Gives scikit-learn's `lars_path_gram`. MissingExtra names the line that installs it."""
    with optional("lasso_channels"):
        from sklearn.linear_model import lars_path_gram
    path: Callable[..., Any] = lars_path_gram
    return path


def _chosen(found: Contributions, count: int) -> Tensor:
    """The units with the largest |β|; of those with none, the ones that what is missing depends on most. [count]"""
    gram, wanted = found.gram_UU.cpu().numpy(), found.wanted_U.cpu().numpy()
    beta = _beta(gram, wanted, count)
    order = np.lexsort((-np.abs(wanted - gram @ beta), -np.abs(beta)))  # of equals the first
    return torch.from_numpy(order[:count].copy()).to(found.gram_UU.device)


def _beta(gram: np.ndarray, wanted: np.ndarray, count: int) -> np.ndarray:
    """β at the largest α that leaves at least `count` of them; where none does, as many as the path ever has."""
    size = float(gram.diagonal().mean())
    if size <= 0:
        return np.zeros(len(wanted))
    path = _path(gram / size, wanted / size)  # its tolerances are absolute; a ridge would share out among units alike
    counts = np.count_nonzero(path, axis=0)
    return np.asarray(path[:, int((counts >= count).argmax() if counts.max() >= count else counts.argmax())])


def _path(gram: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """β where one joins or leaves, from the largest α to none. [units, steps]"""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of units that are alike one is left out, and the path ends where β is exact
        return np.asarray(lars()(wanted, gram, n_samples=1, method="lasso", max_iter=STEPS * len(wanted))[2])
