"""Bugs planted in the choice that is made where the scores lie; the laws read them in small parts, on the CPU too."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import cycle
from unittest.mock import patch

import torch
from planted.mutant import bugs, instead
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sapwood.checks import Laws
from sapwood.checks.law import demand
from sapwood.selection import on_device, on_host

keys, spare, common, score = on_device._keys, on_device._spare, on_device._common, on_device._score
FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
SHAPES = {"a": (13, 7), "b": (40,), "none": (0,), "one": (1,), "c": (3, 2, 2)}
TOGETHER = (  # types that are ranked with one another
    (torch.float64, torch.float32), (torch.float32, torch.bfloat16), (torch.float16, torch.bfloat16),
    (torch.int32, torch.int64), (torch.int64, torch.float32), (torch.uint8, torch.int16, torch.float16),
)  # fmt: skip
EACH = tuple((dtype,) for dtype in on_device.RANKED)
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # parts of another size stand in for another device


def kinds(shape: tuple[int, ...], dtype: torch.dtype, luck: torch.Generator) -> Iterator[Tensor]:
    """Scores that differ, that tie, that are all the same, that are 0 with either sign, that are as large as can be."""
    normal = torch.randn(shape, generator=luck, dtype=torch.float64)
    yield (normal * 40).to(dtype)
    yield torch.randint(3, shape, generator=luck).to(dtype)
    yield torch.ones(shape).to(dtype)
    yield (torch.randint(-1, 2, shape, generator=luck) * normal.sign().mul(0.0).copysign(normal)).to(dtype)
    if dtype.is_floating_point:
        ends = torch.finfo(dtype)
        some = torch.tensor([ends.max, ends.min, ends.tiny, -ends.tiny, ends.smallest_normal / 2, 0.0, 1.0, -1.0])
        some = torch.tensor([*some.tolist(), ends.eps], dtype=torch.float64).clamp(ends.min, ends.max)
    else:
        lowest, highest = (0, 1) if dtype is torch.bool else (torch.iinfo(dtype).min, torch.iinfo(dtype).max)
        some = torch.tensor([lowest, highest, highest - 1, 0, 1])
    yield some[torch.randint(len(some), shape, generator=luck)].to(dtype)


def mixed(dtypes: tuple[torch.dtype, ...], luck: torch.Generator) -> Iterator[dict[str, Tensor]]:
    """Scores of every kind, entry by entry of one type after another."""
    every = [list(kinds(shape, dtype, luck)) for shape, dtype in zip(SHAPES.values(), cycle(dtypes))]
    for each in zip(*every, strict=True):
        yield dict(zip(SHAPES, each, strict=True))


def same_choice(types: tuple[tuple[torch.dtype, ...], ...], device: str = DEVICE) -> None:
    """Demands the host's choice of the device, for scores of these types, whatever is asked."""
    luck = torch.Generator().manual_seed(0)
    asked = cycle([(ties, among, least) for ties in ("first stays", "first goes") for among in (0, 1, 2)
                   for least in (0, 3)])  # fmt: skip
    for scores in (each for dtypes in types for each in mixed(dtypes, luck)):
        for share in (0.0, 0.01, 0.3, 0.77, 1.0):
            ties, some, least = next(asked)
            among = {n: torch.rand(s.shape, generator=luck) > 0.2 for n, s in list(scores.items())[: 2 * some]}
            floors = dict.fromkeys(scores, least)
            room = sum(max(0, int(among[n].sum() if n in among else s.numel()) - least) for n, s in scores.items())
            ask = (round(share * room), among, floors, ties)
            host = on_host.dropped(scores, *ask)
            with small_parts():
                here = on_device.dropped({n: s.to(device) for n, s in scores.items()}, *ask)
            wrong = [n for n in scores if not torch.equal(here[n].cpu(), host[n])]
            demand(not wrong, f"{[s.dtype for s in scores.values()]}, {share} of them, {ties}: {wrong} differ")


@contextmanager
def small_parts(size: int = 16) -> Iterator[None]:
    """Scores are read in parts of so many, or in as many parts as ever if these are larger."""
    with patch.object(on_device, "SMALLEST", size):
        yield


class Peak(TorchDispatchMode):
    """The most bytes that lay in tensors made inside of the block, at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes, self._alive = 0, dict[int, tuple[StorageWeakRef, int]]()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        given = {_memory(t) for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        for tensor in (t for t in tree_leaves(made) if isinstance(t, Tensor)):
            if _memory(tensor) not in given:
                storage = tensor.untyped_storage()
                self._alive[_memory(tensor)] = StorageWeakRef(storage), storage.nbytes()
        self._alive = {at: kept for at, kept in self._alive.items() if not kept[0].expired()}
        self.bytes = max(self.bytes, sum(size for _, size in self._alive.values()))
        return made


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def little_memory() -> None:
    """Two bytes a score beside the mask; the places of what is picked, 8 bytes each, are made inside of an operator."""
    for dtype in FLOATS:
        for scores in ({"a": torch.randn(2**19).to(dtype)}, {n: torch.ones(2**16, dtype=dtype) for n in "abcdefgh"}):
            count = sum(s.numel() for s in scores.values())
            with small_parts(64), Peak() as peak:
                on_device.dropped(scores, count // 2, {}, dict.fromkeys(scores, 0), "first stays")
            extra = (peak.bytes - count) / count + 8 / on_device.PARTS
            demand(extra <= 2, f"{extra:.2f} bytes a score of {dtype} beside the mask")


def place_laws() -> Laws:
    return {
        "selection where scores lie: the same choice, whatever the type": partial(same_choice, EACH),
        "selection where scores lie: the same choice of types together": partial(same_choice, TOGETHER),
        "selection where scores lie: at most two bytes a score beside the mask": little_memory,
    }


def signed(scores: Tensor) -> Tensor:
    """Minus 0 below 0."""
    found = keys(scores)
    return found - (scores == 0).logical_and_(scores.signbit()).to(found.dtype) if scores.is_floating_point() else found


def magnitude(scores: Tensor) -> Tensor:
    """Bits as they are: negative scores in the wrong order."""
    return scores.view(on_device.INTEGERS[scores.element_size()]) if scores.is_floating_point() else scores


def anew(stays: Tensor, tied: Tensor, before: Tensor, *asked: int) -> Tensor:
    """Each part counts its own ties only."""
    return spare(stays, tied, torch.zeros_like(before), *asked)


def narrowest(pools) -> torch.dtype:
    """The smallest of the types."""
    return min((pool.scores.dtype for pool in pools), key=lambda dtype: (dtype.itemsize, dtype.is_floating_point))


MUTANTS = bugs("selection where scores lie", place_laws, {
    "the same choice, whatever the type": {
        "-0.0 ranks below 0.0": instead(on_device, "_keys", signed),
        "negative scores are ranked by their bits": instead(on_device, "_keys", magnitude),
        "ties are counted part by part": instead(on_device, "_spare", anew),
    },
    "the same choice of types together": {
        "scores are compared in the narrowest type": instead(on_device, "_common", narrowest),
    },
    "at most two bytes a score beside the mask": {
        "all scores are one part": instead(on_device, "_part", lambda pools: 10**9),
    },
})  # fmt: skip
