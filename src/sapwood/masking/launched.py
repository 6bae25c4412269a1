"""Clearing on a GPU, where launching takes longer than clearing a small tensor: many of them by three launches.

The bits of what was removed become those of 0 with the sign that it had, of NaN and infinity too, as `Removed` does it
one by one. As integers x: max(min(x, 0), -1) is 0 or -1, which times the lowest integer is 0.0 or -0.0.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sapwood.masking.removed import INTEGERS, SIGNED, Removed

SMALL = 2**18  # entries: a larger one is cleared alone, which needs a third of the memory for its mask

Written = tuple[Tensor, Removed]  # what may have been written to, and whose mask is on it


class Bounds(NamedTuple):
    """Integers [as the weight]: what is kept passes all three unchanged."""

    most: Tensor
    least: Tensor
    times: Tensor


def suits(tensor: Tensor) -> bool:
    """Whether it lies where launching takes time; on the CPU seals know what need not be cleared at all."""
    return tensor.is_cuda


def clear(written: Iterable[Written]) -> None:
    """Removed entries of all of them are 0, or -0 where the sign was negative."""
    groups: dict[tuple[torch.device, torch.dtype], list[Written]] = {}
    for tensor, removed in written:
        if tensor.dtype in SIGNED and tensor.numel() <= SMALL:
            groups.setdefault((tensor.device, tensor.dtype), []).append((tensor, removed))
        else:
            removed.zero(tensor)
    for several in groups.values():
        _clear(several)


def _clear(several: Sequence[Written]) -> None:
    bits = [tensor.data.view(INTEGERS[tensor.dtype.itemsize]) for tensor, _ in several]
    most, least, times = zip(*(_bounds(removed, x) for x, (_, removed) in zip(bits, several, strict=True)), strict=True)
    torch._foreach_minimum_(bits, most)
    torch._foreach_maximum_(bits, least)
    torch._foreach_mul_(bits, times)


def _bounds(removed: Removed, bits: Tensor) -> Bounds:
    """Made once for each type; with the strides of the weight, or PyTorch would take one after another."""
    known: Bounds | None = removed.bounds.get(bits.dtype)
    if known is not None and known.most.device == bits.device and known.most.stride() == bits.stride():
        return known
    ends, gone = torch.iinfo(bits.dtype), removed.keep.to(bits.device).logical_not()
    ways = ((ends.max, 0), (ends.min, -1), (1, ends.min))  # (of what is kept, of what was removed)
    made = Bounds(*(torch.full_like(bits, kept).masked_fill_(gone, other) for kept, other in ways))
    removed.bounds[bits.dtype] = made
    return made
