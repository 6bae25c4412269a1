"""Selection: scores in, keep out. Nothing here knows whether it chooses weights, neurons, channels or ranks.

Every function is exact (as many go as were asked for, also when scores tie), deterministic (ties are settled
by position: order of the dict, then flat index; the lowest index stays unless `ties="first goes"`) and nested
(a higher sparsity keeps a subset). Counts are rounded half to even. NaN and infinite scores are refused.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor

from sapwood.currency import Keep as Keep
from sapwood.currency import Scores as Scores
from sapwood.errors import InputError, refuse_unless, unknown

Ties = Literal["first stays", "first goes"]
Array = np.ndarray[Any, np.dtype[Any]]

CHUNK = 2**16  # scores looked at together: a megabyte of float32 stays in the cache


def everywhere(
    scores: Mapping[str, Tensor],
    sparsity: float,
    *,
    among: Mapping[str, Tensor] | None = None,
    least: int | Mapping[str, int] = 0,
    ties: Ties = "first stays",
) -> Keep:
    """One ranking over all entries: round(sparsity * all) of them are gone afterwards.

    What `among` has already removed counts towards the sparsity and stays removed.
    """
    total = sum(s.numel() for s in scores.values())
    return drop(scores, _new(total, _checked(sparsity), among), among=among, least=least, ties=ties)


def per_layer(
    scores: Mapping[str, Tensor],
    sparsity: float | Mapping[str, float],
    *,
    among: Mapping[str, Tensor] | None = None,
    ties: Ties = "first stays",
) -> Keep:
    """Each entry of the dict ranked alone, at one sparsity or at `{name: sparsity}`."""
    _finite(scores)
    return {
        name: everywhere({name: s}, _of(sparsity, name), among=_only(among, name), ties=ties)[name]
        for name, s in scores.items()
    }


def by_count(scores: Mapping[str, Tensor], counts: Mapping[str, int], *, ties: Ties = "first stays") -> Keep:
    """The `counts[name]` highest scores of each entry stay."""
    _finite(scores)
    for name in scores:
        if not 0 <= _of(counts, name) <= scores[name].numel():
            raise InputError(f"count {_of(counts, name)} for {name!r} is outside 0..{scores[name].numel()}")
    return {name: drop({name: s}, s.numel() - int(_of(counts, name)), ties=ties)[name] for name, s in scores.items()}


def above(scores: Mapping[str, Tensor], threshold: float) -> Keep:
    """Scores greater than the threshold stay; how many that is depends on the scores."""
    _finite(scores)
    if not np.isfinite(threshold):
        raise InputError(f"threshold is {threshold}; give a finite number")
    return {name: s > threshold for name, s in scores.items()}


def n_of_m(scores: Mapping[str, Tensor], n: int, m: int) -> Keep:
    """The n highest of every m consecutive scores along the last dimension stay (2 of 4, for example)."""
    if not 1 <= n <= m:
        raise InputError(f"n of m is {n} of {m}; n must lie in 1..m")
    _finite(scores)
    return {name: _blockwise(name, s, n, m) for name, s in scores.items()}


def within(
    scores: Mapping[str, Tensor],
    cost: Callable[[Keep], float | Tensor],
    limit: float,
    *,
    least: int | Mapping[str, int] = 0,
) -> Keep:
    """The fewest removals, lowest scores first, after which cost(keep) <= limit; keeping one more breaks it.

    `cost` must not rise when something is removed. Bisection: about log2(entries) calls of `cost`.
    """
    most = sum(max(0, s.numel() - _floor(least, name)) for name, s in scores.items())
    low, high = 0, most
    cheapest = float(cost(drop(scores, most, least=least)))
    if not cheapest <= limit:  # NaN too
        raise InputError(
            f"limit {limit} cannot be met: with everything removable gone the cost is {cheapest}; "
            "raise the limit or lower `least`"
        )
    while low < high:
        middle = (low + high) // 2
        fits = float(cost(drop(scores, middle, least=least))) <= limit
        low, high = (low, middle) if fits else (middle + 1, high)
    return drop(scores, low, least=least)


def drop(
    scores: Mapping[str, Tensor],
    count: int,
    *,
    among: Mapping[str, Tensor] | None = None,
    least: int | Mapping[str, int] = 0,
    ties: Ties = "first stays",
) -> Keep:
    """Exactly the `count` lowest scores go, besides what is False in `among`.

    In each entry of the dict the `least` highest stay whatever the others score.
    Cost: a few passes over the scores, at most 4 bytes a float32 score beside the mask; it runs on the CPU, also for
    scores on another device, so that the same scores give the same choice everywhere.
    """
    _finite(scores)
    refuse_unless("ties", ties, ("first stays", "first goes"))
    keep = {name: _alive(name, s, among) for name, s in scores.items()}
    free = {name: _free(scores[name], keep[name], _floor(least, name), ties) for name in scores}
    room = sum(int(np.count_nonzero(f)) if isinstance(f, np.ndarray) else scores[n].numel() for n, f in free.items())
    if not 0 <= count <= room:
        raise InputError(
            f"asked to remove {count} of {room} removable entries; ask for 0..{room}, "
            "or check what `among` and `least` protect"
        )
    stays = _staying({name: _flat(s) for name, s in scores.items()}, free, count, ties)
    return {
        name: torch.from_numpy(_without(keep[name], free[name], stays[name])).view(s.shape).to(s.device)
        for name, s in scores.items()
    }


def _staying(scores: dict[str, Array], free: dict[str, Array | None], count: int, ties: Ties) -> dict[str, Array]:
    """Per entry: True where the score survives the one ranking over all free scores."""
    if count == 0:
        return {name: np.ones(s.shape, bool) for name, s in scores.items()}
    cut, going, standing = _cut([s if free[name] is None else s[free[name]] for name, s in scores.items()], count)
    stays = {name: s > cut for name, s in scores.items()}
    if standing > going:
        at_cut = {
            name: np.flatnonzero((s == cut) if free[name] is None else (s == cut) & free[name])
            for name, s in scores.items()
        }
        _spare(stays, at_cut, standing - going, ties)
    return stays


def _cut(pools: list[Array], count: int) -> tuple[Any, int, int]:
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


def _spare(stays: dict[str, Array], at_cut: dict[str, Array], spared: int, ties: Ties) -> None:
    """Let `spared` of the scores at the cut stay, by position."""
    for name in at_cut if ties == "first stays" else reversed(at_cut):
        where = at_cut[name]
        chosen = where[:spared] if ties == "first stays" else where[max(0, len(where) - spared) :]
        stays[name][chosen] = True
        spared -= len(chosen)


def _without(alive: Array | None, free: Array | None, stays: Array) -> Array:
    """What is alive and either protected or staying."""
    if free is not None:
        stays |= ~free
    return stays if alive is None else stays & alive


def _alive(name: str, scores: Tensor, among: Mapping[str, Tensor] | None) -> Array | None:
    if among is None or name not in among:
        return None
    if among[name].shape != scores.shape:
        raise InputError(f"among[{name!r}] has shape {tuple(among[name].shape)}; its scores have {tuple(scores.shape)}")
    return cast(Array, among[name].detach().cpu().reshape(-1).numpy().astype(bool, copy=False))


def _free(scores: Tensor, alive: Array | None, least: int, ties: Ties) -> Array | None:
    """Which scores may be removed: alive and not among the `least` highest; None means all of them."""
    if least <= 0:
        return alive
    flat = _flat(scores)
    living = flat.size if alive is None else int(np.count_nonzero(alive))
    protected = _staying({"": flat}, {"": alive}, max(0, living - least), ties)[""]
    return ~protected if alive is None else ~protected & alive


def _blockwise(name: str, scores: Tensor, n: int, m: int) -> Tensor:
    if scores.shape[-1] % m:
        raise InputError(f"{name!r} has {scores.shape[-1]} scores along its last dimension, not a multiple of m={m}")
    blocks = scores.reshape(-1, m)
    order = blocks.argsort(dim=1, descending=True, stable=True)[:, :n]  # stable: of equals the lowest index stays
    return torch.zeros_like(blocks, dtype=torch.bool).scatter_(1, order, True).view(scores.shape)


def _flat(scores: Tensor) -> Array:
    """A flat view for NumPy, whose partial sort is ten times faster than torch.kthvalue; half floats are widened."""
    flat = scores.detach().reshape(-1).cpu()
    return cast(Array, (flat.float() if flat.dtype in (torch.bfloat16, torch.float16) else flat).numpy())


def _finite(scores: Mapping[str, Tensor]) -> None:
    if not scores:
        raise InputError("no scores were given; is there a layer to prune?")
    for name, s in scores.items():
        if s.numel() and s.is_floating_point() and not all(torch.isfinite(end) for end in torch.aminmax(s)):
            raise InputError(f"scores of {name!r} hold NaN or infinite values; check the network and its data")


def _checked(sparsity: float) -> float:
    if isinstance(sparsity, bool) or not isinstance(sparsity, (int, float)) or not 0 <= sparsity < 1:
        raise InputError(f"sparsity is {sparsity!r}; it is the fraction removed and must lie in [0, 1)")
    return float(sparsity)


def _new(total: int, sparsity: float, among: Mapping[str, Tensor] | None) -> int:
    """How many must still go so that round(sparsity * total) are gone."""
    gone = sum(m.numel() - int(torch.count_nonzero(m)) for m in (among or {}).values())
    return max(0, round(sparsity * total) - gone)


def _of(values: float | Mapping[str, float], name: str) -> float:
    if not isinstance(values, Mapping):
        return values
    if name not in values:
        raise unknown("entry", name, values)
    return values[name]


def _floor(least: int | Mapping[str, int], name: str) -> int:
    return least if isinstance(least, int) else least.get(name, 0)


def _only(among: Mapping[str, Tensor] | None, name: str) -> Mapping[str, Tensor] | None:
    return None if among is None or name not in among else {name: among[name]}
