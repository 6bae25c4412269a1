"""Operators that move data are run on the ids as they are; where they cut through units, these go together or stay.

The shrunk network runs the model's own code on smaller tensors. So it is not enough to know where a unit's numbers go:
what is left must come out at the same places when the code cuts, splits and stacks by its own sizes.
"""

from typing import Any

import torch
from torch import Tensor

from sapwood.shrinking.rules.call import Call, in_parts, pinned
from sapwood.shrinking.rules.ids import CONSTANT, Ties, Weight, nobody, steady, varied, walk


def moved(ties: Ties, call: Call) -> Any:
    """Run on the ids; a parameter stays a parameter, with each of its id tensors moved."""
    (value,) = call.parts()
    if isinstance(value, Weight):
        return Weight(value.name, tuple(steady(call.moved(layer)) for layer in value.layers))
    if call.op in SIZED and varied(ids := ties.now(value)):
        ties.ask(ids, call.name)
    return ties.now(call.moved(ties.now(value)))


def viewed(ties: Ties, call: Call) -> Any:
    """Where a view splits a dimension of units, whole rows or whole columns of the grid must go."""
    (value,) = call.parts()
    if isinstance(value, Weight):
        ties.view(call.name)
        return Weight(value.name, tuple(steady(layer.reshape(call.shape)) for layer in value.layers))
    ids = ties.now(value)
    if varied(ids):
        ties.ask(ids, call.name)
    out = ties.now(ids.reshape(call.shape))
    out = ties.grid(out) if len(varied(out)) > 1 else out
    sizes = call.given.get("size", call.given.get("shape", call.given.get("sizes")))
    missing = -1 in sizes and sizes.index(-1) + out.dim() - len(sizes) not in varied(out)  # unflatten names a few only
    ties.view(call.name, out, inferred=missing)
    return out


def parted(ties: Ties, call: Call) -> Any:
    """Equal parts along a dimension of units: what goes in one goes in all, so that they stay equal."""
    (value,) = call.parts()
    if isinstance(value, Weight):
        return pinned(ties, call, "cuts a parameter")
    ids, dim = ties.now(value), call.given.get("dim", 0) % value.dim()
    if dim in varied(ids):
        ties.ask(ids, call.name)
    if dim in varied(ids) and not _equal_parts(ties, call, ids, dim):
        ties.pin(ids, call.because("cuts units into unequal parts, by sizes written in the code"))
    found = call.moved(ties.now(ids))
    return ties.now(found) if isinstance(found, Tensor) else tuple(ties.now(part) for part in found)


def _equal_parts(ties: Ties, call: Call, ids: Tensor, dim: int) -> bool:
    whole, length = ids.shape[dim], {shape[dim] for shape in call.shapes}
    if length == {whole}:
        return True
    size = max(length)
    if len(length) > 1 or whole % size or (call.given.get("start") or 0) % size or call.given.get("step", 1) != 1:
        return False
    ties.tie_over(in_parts(ids, dim, whole // size), dim)
    return True


def picked(ties: Ties, call: Call) -> Any:
    """Single positions, or a shift, along a dimension of units: positions are counted, so there all stay.

    Where units lie along another dimension too, as in the three of queries, keys and values, those may go everywhere.
    """
    (value,) = call.parts()
    if isinstance(value, Weight):
        return pinned(ties, call, "cuts a parameter")
    ids = ties.now(value)
    for dim in _dims(call, ids):
        if varied(ids) == [dim]:
            ties.pin(ids, call.because("counts positions along units"))
        elif dim in varied(ids):
            ids = ties.tie_over(ids, dim)
    found = call.moved(ids)
    return ties.now(found) if isinstance(found, Tensor) else tuple(ties.now(part) for part in found)


def _dims(call: Call, ids: Tensor) -> list[int]:
    given = call.given.get("dims", call.given.get("dim", 0))
    return [dim % ids.dim() for dim in ([given] if isinstance(given, int) else given or range(ids.dim()))]


def indexed(ties: Ties, call: Call) -> Any:
    """Places named by numbers, along one dimension: along it positions are counted, others are as they were."""
    dims = [dim for dim, index in enumerate(call["indices"]) if index is not None]
    value = call["self"]
    if len(dims) != 1:
        return pinned(ties, call, "names places in several dimensions")
    if isinstance(value, Weight):
        return Weight(value.name, tuple(_at(ties, call, layer, dims[0]) for layer in value.layers))
    return ties.now(_at(ties, call, ties.now(value), dims[0]))


def _at(ties: Ties, call: Call, ids: Tensor, dim: int) -> Tensor:
    if dim in varied(ids):
        ties.pin(ids, call.because("counts positions along units"))
        return nobody(call.shape)
    new = len(call.shape) - ids.dim() + 1
    few = ids.select(dim, 0)
    return few.reshape(*few.shape[:dim], *([1] * new), *few.shape[dim:]).expand(call.shape)


def joined(ties: Ties, call: Call) -> Any:
    """Concatenated or stacked along `dim`: units along another dimension must be the same in all parts."""
    parts = [ties.now(call.plain(ties, part)) for part in walk(call["tensors"])]
    assert call.run is not None
    out = ties.now(call.run(parts, call["dim"]))
    dim = call["dim"] % out.dim()
    if dim in varied(out) and len(varied(out)) > 1:
        out = ties.tie_over(out, dim)
    return out


def shuffled(ties: Ties, call: Call) -> Any:
    """Pixels made of channels: the r² channels of a pixel block go together."""
    out = moved(ties, call)
    for dim in varied(out):
        if dim != out.dim() - 3:
            out = ties.tie_over(out, dim)
    return out


def channel_shuffled(ties: Ties, call: Call) -> Any:
    """Groups exchange channels: the same go in every group."""
    ids = call.ids(ties)
    if 1 in varied(ids):
        ties.tie_over(in_parts(ids, 1, call["groups"]), 1)
    return moved(ties, call)


def padded(ties: Ties, call: Call) -> Any:
    """Rows of pixels around a channel are the channel's; whole channels of constants belong to no unit."""
    ids = call.ids(ties)
    for back, (before, after) in enumerate(zip(call["pad"][::2], call["pad"][1::2], strict=True), start=1):
        dim = ids.dim() - back
        if dim not in varied(ids):
            ids = ids.narrow(dim, 0, 1).expand(*ids.shape[:dim], call.shape[dim], *ids.shape[dim + 1 :])
        elif call.given.get("mode", "constant") == "constant":
            ids = torch.constant_pad_nd(ids, [0, 0] * (back - 1) + [before, after], CONSTANT)
        elif before or after:
            return pinned(ties, call, "repeats units at the border")
    return ties.now(ids)


def created(ties: Ties, call: Call) -> Tensor:
    """Numbers of a shape written in the code."""
    return nobody(call.shape, which=CONSTANT)


SIZED = ("expand", "broadcast_to", "repeat", "tile")
MOVED = (
    "permute", "transpose", "t", "numpy_T", "mT", "movedim", "swapaxes", "flatten", "squeeze", "unsqueeze", "expand",
    "broadcast_to", "flip", "repeat", "repeat_interleave", "tile", "pixel_unshuffle",
)  # fmt: skip
RULES = (
    dict.fromkeys(MOVED, moved)
    | dict.fromkeys(("view", "reshape", "unflatten", "_unsafe_view"), viewed)
    | dict.fromkeys(("chunk", "split", "split_with_sizes", "slice", "narrow"), parted)
    | dict.fromkeys(("select", "unbind", "roll"), picked)
    | dict.fromkeys(("cat", "concat", "stack"), joined)
    | {"index": indexed}
    | dict.fromkeys(("pad", "constant_pad_nd"), padded)
    | dict.fromkeys(("new_zeros", "new_ones", "new_full"), created)
    | dict.fromkeys(("pixel_shuffle",), shuffled)
    | dict.fromkeys(("channel_shuffle",), channel_shuffled)
)
