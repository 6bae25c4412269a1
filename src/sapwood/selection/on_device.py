"""Ranking where the scores lie, by passes over their bits: nothing is sorted, and only counts come to the host.

Scores are read as integers of the same order. A pass counts how many begin with each pattern of eleven bits; the
pattern in which the k-th lowest falls is where the next pass looks, at the next eleven bits (a radix selection). Scores
are read in parts, so that what a pass needs beside them is small. The choice is `on_host`'s, bit by bit.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sapwood.currency import Keep
from sapwood.selection.on_host import Ties, refuse_more

DEVICES = ("cuda", "xpu")  # elsewhere float64, or counting small integers, may be missing
BITS = 11  # of a pass: 2,048 counts fit into the fast memory of a GPU's multiprocessor
PARTS = 12  # the temporaries of one part take up to 33 bytes a score, before the mask is there: 2.8 of all of them
SMALLEST, LARGEST = 2**20, 2**26  # scores of a part
INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}  # by bytes
BYTES = (torch.bool, torch.uint8, torch.int8)
RANKED = (*BYTES, *INTEGERS.values(), torch.float16, torch.bfloat16, torch.float32, torch.float64)


class Pool(NamedTuple):
    """One entry's scores, in one row."""

    scores: Tensor
    free: Tensor | None  # which of them may go; None: all


def suits(scores: Mapping[str, Tensor]) -> bool:
    """Whether all scores lie on one such device, in types whose bits can be ranked."""
    devices = {s.device for s in scores.values()}
    return len(devices) == 1 and devices.pop().type in DEVICES and all(s.dtype in RANKED for s in scores.values())


def dropped(
    scores: Mapping[str, Tensor], count: int, among: Mapping[str, Tensor], least: Mapping[str, int], ties: Ties
) -> Keep:
    """What stays when the `count` lowest scores have gone; see `select.drop`."""
    alive = {name: _alive(s, among[name]) if name in among else None for name, s in scores.items()}
    pools = {name: Pool(s.detach().reshape(-1), alive[name]) for name, s in scores.items()}
    pools = {name: _unprotected(pool, least[name], ties) for name, pool in pools.items()}
    refuse_more(count, sum(map(_room, pools.values())))
    stays = dict(zip(pools, _staying(list(pools.values()), count, ties), strict=True))
    return {name: _without(alive[name], pools[name].free, stays[name]).view(s.shape) for name, s in scores.items()}


def lowest(pools: Sequence[Pool], count: int) -> tuple[float, int, int]:
    """The count-th lowest free score, how many scores equal to it go, and how many equal to it there are."""
    shift, begins, below = 8 * _common(pools).itemsize, None, 0
    while shift:
        lower = max(0, shift - BITS)
        base = -(1 << (shift - lower - 1)) if begins is None else begins << (shift - lower)
        counts = _counts(pools, shift, lower, begins, base)
        upto = counts.cumsum(0)
        at = int(torch.searchsorted(upto, count - below))
        below += int(upto[at] - counts[at])
        shift, begins = lower, base + at
    assert begins is not None
    return _score(begins, _common(pools)), count - below, int(counts[at])


def _counts(pools: Sequence[Pool], shift: int, lower: int, begins: int | None, base: int) -> Tensor:
    """How often the bits from `shift` down to `lower` have each pattern, among the scores that begin with `begins`."""
    size = 1 << (shift - lower)
    found = torch.zeros(size, dtype=torch.int64, device=pools[0].scores.device)
    for scores, free in _parts(pools):
        keys = _keys(scores)
        if begins is not None:
            like = (keys >> shift) == begins
            free = like if free is None else like.logical_and_(free)
        if free is not None:
            keys = keys.masked_select(free)
        found += torch.bincount((keys >> lower).sub_(base), minlength=size)
    return found.cpu()


def _keys(scores: Tensor) -> Tensor:
    """Integers in the order of the scores, of as many bytes; 0.0 and -0.0 are the same one."""
    if not scores.is_floating_point():
        return scores
    bits = scores.view(INTEGERS[scores.element_size()])
    negative = bits >> (8 * bits.element_size() - 1)  # all ones, or none
    return (bits & torch.iinfo(bits.dtype).max).bitwise_xor_(negative).sub_(negative)


def _score(key: int, dtype: torch.dtype) -> float:
    """The score that has this key."""
    if not dtype.is_floating_point:
        return key
    integers = INTEGERS[dtype.itemsize]
    bits = key if key >= 0 else torch.iinfo(integers).min - key
    return torch.tensor([bits], dtype=integers).view(dtype).item()


def _parts(pools: Sequence[Pool]) -> Iterator[Pool]:
    """All scores, a part at a time and in one type: long entries are cut, short ones joined."""
    most, dtype = _part(pools), _common(pools)
    begun: list[Pool] = []
    for scores, free in pools:
        for at in range(0, len(scores), most):
            piece = Pool(scores[at : at + most].to(dtype), None if free is None else free[at : at + most])
            if begun and sum(len(each.scores) for each in begun) + len(piece.scores) > most:
                yield _joined(begun)
                begun = []
            begun.append(piece)
    if begun:
        yield _joined(begun)


def _joined(pieces: Sequence[Pool]) -> Pool:
    if len(pieces) == 1:
        return pieces[0]
    scores = torch.cat([each.scores for each in pieces])
    if all(each.free is None for each in pieces):
        return Pool(scores, None)
    every = [torch.ones_like(s, dtype=torch.bool) if free is None else free for s, free in pieces]
    return Pool(scores, torch.cat(every))


def _part(pools: Sequence[Pool]) -> int:
    return min(LARGEST, max(SMALLEST, sum(len(pool.scores) for pool in pools) // PARTS))


def _common(pools: Sequence[Pool]) -> torch.dtype:
    """The type in which scores of several types are compared, as NumPy has it."""
    dtypes = {torch.int16 if pool.scores.dtype in BYTES else pool.scores.dtype for pool in pools}
    if len(dtypes) == 1:
        return dtypes.pop()
    if any(dtype.is_floating_point for dtype in dtypes):
        return torch.float64
    return max(dtypes, key=lambda dtype: dtype.itemsize)


def _staying(pools: Sequence[Pool], count: int, ties: Ties) -> list[Tensor]:
    """For each pool: True where the score survives the one ranking over all free scores."""
    if count == 0:
        return [torch.ones_like(pool.scores, dtype=torch.bool) for pool in pools]
    cut, going, standing = lowest(pools, count)
    most, dtype = _part(pools), _common(pools)
    before = torch.zeros((), dtype=torch.int64, device=pools[0].scores.device)  # scores at the cut, so far
    found = []
    for scores, free in pools:
        stays = torch.empty_like(scores, dtype=torch.bool)
        for part in (slice(at, at + most) for at in range(0, len(scores), most)):
            values = scores[part].to(dtype)
            torch.gt(values, cut, out=stays[part])
            if standing > going:
                tied = values == cut
                before = _spare(stays[part], tied if free is None else tied & free[part], before, going, standing, ties)
        found.append(stays)
    return found


def _spare(stays: Tensor, tied: Tensor, before: Tensor, going: int, standing: int, ties: Ties) -> Tensor:
    """Let as many of the scores at the cut stay as do not go, by position; how many there were up to here."""
    place = tied.cumsum(0).add_(before)  # counted from 1
    stays |= tied.logical_and_(place <= standing - going if ties == "first stays" else place > going)
    return place[-1].clone()


def _unprotected(pool: Pool, least: int, ties: Ties) -> Pool:
    """The pool without its `least` highest scores."""
    if least <= 0:
        return pool
    free = _staying([pool], max(0, _room(pool) - least), ties)[0].logical_not_()
    return Pool(pool.scores, free if pool.free is None else free.logical_and_(pool.free))


def _room(pool: Pool) -> int:
    return len(pool.scores) if pool.free is None else int(torch.count_nonzero(pool.free))


def _alive(scores: Tensor, mask: Tensor) -> Tensor:
    return mask.detach().to(scores.device, torch.bool).reshape(-1)


def _without(alive: Tensor | None, free: Tensor | None, stays: Tensor) -> Tensor:
    """What is alive and either protected or staying."""
    if free is not None:
        stays.logical_or_(free.logical_not())
    return stays if alive is None else stays.logical_and_(alive)
