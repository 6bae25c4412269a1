"""The k-th lowest of many scores, by a partial sort of the few that may be it."""

from typing import Any, cast

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

CHUNK = 2**16  # scores looked at together: a megabyte of float32 stays in the cache


def lowest(pools: list[Array], count: int) -> tuple[Any, int, int]:
    """The count-th lowest score, how many scores equal to it go, and how many equal to it there are.

    A sample brackets the cut; one pass counts what lies below the bracket and gathers what lies inside it, which is
    about 1 % of the scores and is all that needs sorting (Floyd and Rivest, 1975). Should the sample mislead, the
    whole pool is sorted in part instead: the answer is exact either way.
    """
    low, high = _bracket(pools, count)
    below, inside = 0, []
    for chunk in (pool[at : at + CHUNK] for pool in pools for at in range(0, pool.size, CHUNK)):
        from_low = chunk >= low
        below += chunk.size - int(np.count_nonzero(from_low))
        inside.append(chunk[np.flatnonzero(from_low & (chunk <= high))])  # faster than indexing by the bools
    middle = np.concatenate(inside)
    if not below < count <= below + middle.size:
        below, middle = 0, np.concatenate(pools)
    middle.partition(count - below - 1)
    cut = middle[count - below - 1]
    return cut, count - below - int(np.count_nonzero(middle < cut)), int(np.count_nonzero(middle == cut))


def _bracket(pools: list[Array], count: int) -> tuple[Any, Any]:
    """Two scores that very probably enclose the count-th lowest: a sample's quantile, three standard deviations off."""
    total = sum(pool.size for pool in pools)
    stride = max(1, round(total**0.3))
    sample = np.concatenate([_sampled(pool, stride) for pool in pools if pool.size])
    quantile = count / total
    slack = 3 * (quantile * (1 - quantile) / sample.size) ** 0.5 + 2 / sample.size
    low, high = (min(max(int((quantile + side) * sample.size), 0), sample.size - 1) for side in (-slack, slack))
    sample.partition((low, high))
    return sample[low], sample[high]


def _sampled(pool: Array, stride: int) -> Array:
    """One score out of every `stride`, each at another place in it, so that rows and columns leave no pattern.

    The places are a Weyl sequence (multiples of the golden ratio, modulo 1), five times faster than random ones; the
    bracket decides how fast, never what is chosen.
    """
    starts = np.arange(0, pool.size, stride)
    scattered = np.arange(starts.size, dtype=np.uint32) * np.uint32(2654435769) >> np.uint32(16)  # 2^32 / 1.618...
    places = starts + (scattered * np.uint32(stride) >> np.uint32(16))
    return cast(Array, pool[np.minimum(places, pool.size - 1)])
