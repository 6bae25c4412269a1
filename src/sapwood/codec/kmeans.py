"""K-means: few values that stand for many, so that the squared differences add up to as little as nearby means can do.

    each weight belongs to the nearest centroid, each centroid is the mean of its weights; repeated until nothing moves
    at first: k centroids at equal distances from the smallest weight to the largest

*Paper:* Han, Mao, Dally 2016, "Deep Compression", arXiv 1510.00149, sections 3.1 and 3.2 ("linear" initialisation).
*Differs:* k different values or fewer are their own centroids, which moving means need not find; a centroid to which
nothing belongs stays where it is; of two equally near centroids the smaller is taken.
"""

import torch
from torch import Tensor

from sapwood.errors import InputError

MOVES = 1_000  # of the means, at most; tens of them are usual


def kmeans(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Up to k centroids, ascending, and which one each of the values, one-dimensional and finite, belongs to.

    Centroids have the values' type and are worked out in float64. InputError: k is below 1, a value is not finite.
    """
    if k < 1:
        raise InputError(f"k is {k}; give a number of centroids of 1 or more")
    if not bool(torch.isfinite(values).all()):
        raise InputError("k-means was given NaN or infinite values; look for what has made the weights so")
    distinct: Tensor = values.unique()  # type: ignore[no-untyped-call]
    if len(distinct) <= k:
        return distinct, torch.searchsorted(distinct, values)
    centroids = _moved(values.double().sort().values, k).to(values.dtype)
    return centroids, nearest(values, centroids)


def nearest(values: Tensor, centroids: Tensor) -> Tensor:
    """The place of the centroid, of ascending ones, that is nearest to each value."""
    exact = centroids.double()
    return torch.bucketize(values.double(), (exact[1:] + exact[:-1]) / 2)


def gathered(gradients: Tensor, labels: Tensor, k: int) -> Tensor:
    """[k]: the gradient of each centroid, the sum of those of the weights that have its value, in float64.

    *Paper:* Han, Mao, Dally 2016, arXiv 1510.00149, equation 3. *Differs:* nothing known.
    """
    return torch.bincount(labels, gradients.double(), minlength=k)


def _moved(values: Tensor, k: int) -> Tensor:
    """The centroids of sorted values; sums over a stretch of them are differences of running sums."""
    centroids = torch.linspace(float(values[0]), float(values[-1]), k, dtype=torch.float64, device=values.device)
    running = torch.cat([values.new_zeros(1), values.cumsum(0)])
    before = None
    for _ in range(MOVES):
        cuts = torch.searchsorted(values, (centroids[1:] + centroids[:-1]) / 2, right=True)
        if before is not None and torch.equal(cuts, before):
            break
        before, ends = cuts, torch.cat([cuts.new_zeros(1), cuts, cuts.new_tensor([len(values)])])
        counts = ends.diff()
        centroids = torch.where(counts > 0, running[ends].diff() / counts.clamp(min=1), centroids)
    return centroids
