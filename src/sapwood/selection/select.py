"""Selection: scores in, keep out. Nothing here knows whether it chooses weights, neurons, channels or ranks.

Every function is exact (as many go as were asked for, also when scores tie), deterministic (ties are settled
by position: order of the dict, then flat index; the lowest index stays unless `ties="first goes"`) and nested
(a higher sparsity keeps a subset). Counts are rounded half to even. NaN and infinite scores are refused.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from sapwood import processes
from sapwood.called import checked
from sapwood.currency import Keep as Keep
from sapwood.currency import Scores as Scores
from sapwood.errors import InputError, refuse_unless, unknown
from sapwood.selection import on_device, on_host
from sapwood.selection.on_host import Ties as Ties

looked_at = checked(
    scores="what score() gives, a dict of tensors by name",
    sparsity="the fraction removed, in [0, 1), or a dict of them",
    among="a dict of masks, {name: bool tensor, True where it is kept}",
)


@looked_at
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

    >>> select.everywhere({"a": torch.tensor([3.0, 1.0]), "b": torch.tensor([2.0, 4.0])}, 0.5)
    {'a': tensor([ True, False]), 'b': tensor([False,  True])}
    """
    total = sum(s.numel() for s in scores.values())
    return drop(scores, _new(total, _checked(sparsity), among), among=among, least=least, ties=ties)


@looked_at
def per_layer(
    scores: Mapping[str, Tensor],
    sparsity: float | Mapping[str, float],
    *,
    among: Mapping[str, Tensor] | None = None,
    ties: Ties = "first stays",
) -> Keep:
    """Each entry of the dict ranked alone, at one sparsity or at `{name: sparsity}`.

    >>> select.per_layer({"a": torch.tensor([3.0, 4.0]), "b": torch.tensor([2.0, 1.0])}, 0.5)
    {'a': tensor([False,  True]), 'b': tensor([ True, False])}
    """
    scores = _finite(scores)
    return {
        name: everywhere({name: s}, _of(sparsity, name), among=_only(among, name), ties=ties)[name]
        for name, s in scores.items()
    }


@looked_at
def by_count(scores: Mapping[str, Tensor], counts: Mapping[str, int], *, ties: Ties = "first stays") -> Keep:
    """The `counts[name]` highest scores of each entry stay.

    >>> select.by_count({"a": torch.tensor([3.0, 4.0, 1.0])}, {"a": 1})
    {'a': tensor([False,  True, False])}
    """
    scores = _finite(scores)
    for name in scores:
        if not 0 <= _of(counts, name) <= scores[name].numel():
            raise InputError(f"count {_of(counts, name)} for {name!r} is outside 0..{scores[name].numel()}")
    return {name: drop({name: s}, s.numel() - int(_of(counts, name)), ties=ties)[name] for name, s in scores.items()}


@looked_at
def above(scores: Mapping[str, Tensor], threshold: float) -> Keep:
    """Scores greater than the threshold stay; how many that is depends on the scores.

    >>> select.above({"a": torch.tensor([3.0, 4.0, 1.0])}, 3.0)
    {'a': tensor([False,  True, False])}
    """
    scores = _finite(scores)
    if not np.isfinite(threshold):
        raise InputError(f"threshold is {threshold}; give a finite number")
    return {name: s > threshold for name, s in scores.items()}


@looked_at
def per_row(scores: Mapping[str, Tensor], sparsity: float | Mapping[str, float], *, dim: int = 0) -> Keep:
    """Each row ranked alone: round(sparsity * its length) of its scores go.

    A row is everything at one index of `dim`: all weights that one neuron or filter reads, with dim=1 in a transposed
    convolution. Scores of one dimension are one row.

    >>> select.per_row({"a": torch.tensor([[3.0, 4.0], [2.0, 1.0]])}, 0.5)
    {'a': tensor([[False,  True],
            [ True, False]])}
    """
    scores = _finite(scores)
    return {name: _rowwise(name, s, _checked(_of(sparsity, name)), dim) for name, s in scores.items()}


@looked_at
def n_of_m(scores: Mapping[str, Tensor], n: int, m: int, *, dim: int = -1) -> Keep:
    """The n highest of every m consecutive scores along dimension `dim` stay (2 of 4, for example).

    The last dimension unless told otherwise; dim=1 is the input channels of a linear layer and of a convolution alike.

    >>> select.n_of_m({"a": torch.tensor([3.0, 4.0, 1.0, 2.0])}, 2, 4)
    {'a': tensor([ True,  True, False, False])}
    """
    if not 1 <= n <= m:
        raise InputError(f"n of m is {n} of {m}; n must lie in 1..m")
    scores = _finite(scores)
    return {name: _blockwise(name, s, n, m, dim) for name, s in scores.items()}


@looked_at
def within(
    scores: Mapping[str, Tensor],
    cost: Callable[[Keep], float | Tensor],
    limit: float,
    *,
    least: int | Mapping[str, int] = 0,
) -> Keep:
    """The fewest removals, lowest scores first, after which cost(keep) <= limit; keeping one more breaks it.

    `cost` must not rise when something is removed. Bisection: about log2(entries) calls of `cost`.

    >>> cost = lambda keep: int(keep["a"].sum())
    >>> select.within({"a": torch.tensor([3.0, 4.0, 1.0])}, cost, 2)
    {'a': tensor([ True,  True, False])}
    """
    scores = _finite(scores)
    most = sum(max(0, s.numel() - _floor(least, name)) for name, s in scores.items())
    low, high = 0, most
    cheapest = float(cost(_dropped(scores, most, None, least, "first stays")))
    if not cheapest <= limit:  # NaN too
        whole = float(cost(_dropped(scores, 0, None, least, "first stays")))
        raise InputError(
            f"a cost of {limit:,.6g} cannot be met: {cheapest:,.6g} of {whole:,.6g} remain "
            "when all is gone that may go; give a larger limit or share, or a smaller `least`, or `multiple`"
        )
    while low < high:
        middle = (low + high) // 2
        fits = float(cost(_dropped(scores, middle, None, least, "first stays"))) <= limit
        low, high = (low, middle) if fits else (middle + 1, high)
    return _dropped(scores, low, None, least, "first stays")


@looked_at
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
    Cost: a few passes over the scores where they lie, and the same choice everywhere. On the CPU at most 4 bytes a
    float32 score beside the mask; on a GPU 2, one more with `least`, and what comes back are counts.

    >>> select.drop({"a": torch.tensor([3.0, 1.0]), "b": torch.tensor([2.0, 4.0])}, 1)
    {'a': tensor([ True, False]), 'b': tensor([True, True])}
    """
    scores = _finite(scores)
    return _dropped(scores, count, among, least, ties)


def _dropped(
    scores: Mapping[str, Tensor],
    count: int,
    among: Mapping[str, Tensor] | None,
    least: int | Mapping[str, int],
    ties: Ties,
) -> Keep:
    """The same of scores that are known to be finite, where they lie."""
    refuse_unless("ties", ties, ("first stays", "first goes"))
    _refuse_other_shapes(scores, among or {})
    way = on_device.dropped if on_device.suits(scores) else on_host.dropped
    return way(scores, count, among or {}, {name: _floor(least, name) for name in scores}, ties)


def _refuse_other_shapes(scores: Mapping[str, Tensor], among: Mapping[str, Tensor]) -> None:
    for name, s in scores.items():
        if name in among and among[name].shape != s.shape:
            raise InputError(f"among[{name!r}] has shape {tuple(among[name].shape)}; its scores have {tuple(s.shape)}")


def _rowwise(name: str, scores: Tensor, sparsity: float, dim: int) -> Tensor:
    rows = _last(name, scores, dim).movedim(-1, 0) if scores.dim() > 1 else scores[None]
    length = rows[0].numel()
    keep = _blockwise(name, rows.flatten(1), length - round(sparsity * length), length, -1).view(rows.shape)
    return keep.movedim(0, dim) if scores.dim() > 1 else keep[0]


def _blockwise(name: str, scores: Tensor, n: int, m: int, dim: int) -> Tensor:
    along = _last(name, scores, dim)
    if along.shape[-1] % m:
        raise InputError(f"{name!r} has {along.shape[-1]} scores along dimension {dim}, not a multiple of m={m}")
    blocks = along.reshape(-1, m)
    order = blocks.argsort(dim=1, descending=True, stable=True)[:, :n]  # stable: of equals the lowest index stays
    return torch.zeros_like(blocks, dtype=torch.bool).scatter_(1, order, True).view(along.shape).movedim(-1, dim)


def _last(name: str, scores: Tensor, dim: int) -> Tensor:
    """The scores with dimension `dim` behind all others."""
    if not -scores.dim() <= dim < scores.dim():
        raise InputError(f"{name!r} has scores of shape {tuple(scores.shape)}, which have no dimension {dim}")
    return scores.movedim(dim, -1)


def _finite(scores: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The scores, whole where they are sharded over processes; InputError unless all are finite."""
    if not scores:
        raise InputError("no scores were given; is there a layer to prune?")
    scores = {name: processes.whole(s) for name, s in scores.items()}
    floats = {name: s for name, s in scores.items() if s.numel() and s.is_floating_point()}
    fine = [torch.isfinite(torch.stack(torch.aminmax(s))).all() for s in floats.values()]
    for name, yes in zip(floats, _read(fine), strict=True):  # waits for a device once
        if not yes:
            raise InputError(f"scores of {name!r} hold NaN or infinite values; check the network and its data")
    return scores


def _read(flags: list[Tensor]) -> list[bool]:
    return torch.stack([flag.to(flags[0].device) for flag in flags]).tolist() if flags else []


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
