"""Outliers: how much each of a network's blocks loses, by how many of its scores stand far above the others.

    D_l = share of the scores of block l above `times` their mean;    density_l = density + shift + 2 reach * D_l

with the D_l stretched to 0..1 and a shift that makes the mean of the densities the one asked for.
*Paper:* Yin et al. 2023, "Outlier weighed layerwise sparsity (OWL)", arXiv 2310.05175.
*Differs:* blocks of unequal sizes count by their sizes, so that as many weights go in all as were asked for.
"""

from collections.abc import Iterable, Mapping

from torch import Tensor

from sapwood.errors import InputError


def share_of_outliers(scores: Iterable[Tensor], times: float = 5.0) -> float:
    """The share of all scores, of one block's layers for example, that are more than `times` the mean of them all."""
    parts = [each.detach().double() for each in scores]
    count = sum(each.numel() for each in parts)
    if not count or not times > 0:
        raise InputError(f"outliers of {count} scores, above {times} times their mean; give scores, and times above 0")
    bar = times * sum(float(each.sum()) for each in parts) / count
    return sum(int((each > bar).sum()) for each in parts) / count


def by_outliers(
    shares: Mapping[str, float], sparsity: float, *, reach: float = 0.08, sizes: Mapping[str, int] | None = None
) -> dict[str, float]:
    """The sparsity of each block, {name: fraction removed}: less where the share of outliers is larger.

    The lowest and the highest are 2 * `reach` apart, and their mean is `sparsity`, weighted by `sizes` where given.
    """
    if not shares or not reach >= 0:
        raise InputError(f"reach is {reach} for {len(shares)} shares; give shares of outliers, and reach of at least 0")
    low, high = min(shares.values()), max(shares.values())
    rise = {name: 2 * reach * (share - low) / (high - low) if high > low else 0.0 for name, share in shares.items()}
    weight = {name: sizes[name] if sizes else 1 for name in shares}
    mean = sum(rise[name] * weight[name] for name in rise) / sum(weight.values())
    found = {name: sparsity + mean - up for name, up in rise.items()}
    if not 0 <= min(found.values()) <= max(found.values()) < 1:
        raise InputError(
            f"sparsity {sparsity} with reach {reach} gives blocks {min(found.values()):.2f} to "
            f"{max(found.values()):.2f}, which must lie in [0, 1); lower reach"
        )
    return found
