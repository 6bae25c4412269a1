"""Operators that move data are run on the ids as they are; where they cut through units, these go together or stay.

The shrunk network runs the model's own code on smaller tensors. So it is not enough to know where a unit's numbers go:
what is left must come out at the same places when the code cuts, splits and stacks by its own sizes.
"""

from typing import Any

import torch
from torch import Tensor

from sapwood.shrinking.rules.call import Call, in_parts, pinned
from sapwood.shrinking.rules.elementwise import join
from sapwood.shrinking.rules.ids import Ties
from sapwood.shrinking.rules.strides import steady, thin, varied
from sapwood.shrinking.rules.values import BLANK, CONSTANT, Weight, nobody, walk


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
    ids, dim = ties.now(value), (call.given.get("dim") or 0) % value.dim()
    if dim in varied(ids):
        ties.ask(ids, call.name)
        if call.op in WRITTEN and {shape[dim] for shape in call.shapes} != {ids.shape[dim]}:
            ties.quiet.doubts.append((thin(ids).reshape(-1), call.name))  # a size written down would run as well
    if dim in varied(ids) and not _equal_parts(ties, call, ids, dim):
        ties.pin(ids, call.because("cuts units into unequal parts, by sizes written in the code"))
    found = call.moved(ties.now(ids))
    return ties.now(found) if isinstance(found, Tensor) else tuple(ties.now(part) for part in found)


def _equal_parts(ties: Ties, call: Call, ids: Tensor, dim: int) -> bool:
    whole, length = ids.shape[dim], {shape[dim] for shape in call.shapes}
    if length == {whole}:
        return True
    size, step = max(length), call.given.get("step") or 1
    if size == 0:  # of no unit
        return True
    if 1 < step == whole // size and whole % step == 0 and (call.given.get("end") or whole) >= whole:
        ties.tie_over(in_parts(ids, dim, size), dim + 1)  # every second one, of pairs
        return True
    if len(length) > 1 or whole % size or (call.given.get("start") or 0) % size or step != 1:
        return False
    ties.tie_over(in_parts(ids, dim, whole // size), dim)
    return True


def picked(ties: Ties, call: Call) -> Any:
    """Indexing or rolling along a dimension of units uses absolute positions, so those units are pinned.

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


def joined(ties: Ties, call: Call) -> Any:
    """Concatenated or stacked along `dim`: units along another dimension must be the same in all parts."""
    parts = [ties.now(call.plain(ties, part)) for part in walk(call["tensors"])]
    assert call.run is not None
    given = {"dim": call["dim"]} if "dim" in call.given else {}
    out = ties.now(call.run(parts, **given))
    dim = given.get("dim", STACKED.get(call.op, 0)) % out.dim()
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
    units = varied(ids)
    for back, (before, after) in enumerate(zip(call["pad"][::2], call["pad"][1::2], strict=True), start=1):
        dim = ids.dim() - back
        if not before and not after:
            continue
        if dim not in units:
            ids = ids.narrow(dim, 0, 1).expand(*ids.shape[:dim], call.shape[dim], *ids.shape[dim + 1 :])
        elif call.given.get("mode", "constant") == "constant":
            ids = torch.constant_pad_nd(ids, [0, 0] * (back - 1) + [before, after], CONSTANT)
        else:
            return pinned(ties, call, "repeats units at the border")
    return ties.now(ids)


def spread_like(ties: Ties, call: Call) -> Any:
    """As large as another tensor: what is spread over its units has as many numbers as there are units."""
    value, other = call["self"], call["other"]
    if not isinstance(value, Tensor) or not isinstance(other, Tensor):
        return pinned(ties, call, "spreads a parameter")
    return ties.now(join(ties, call, ties.now(value), ties.now(other)))


def spread_together(ties: Ties, call: Call) -> Any:
    """All as large as the largest."""
    parts = [ties.now(call.plain(ties, part)) for part in walk(call["tensors"])]
    whole = parts[0]
    for part in parts[1:]:
        whole = join(ties, call, whole, part)
    return tuple(ties.now(whole.expand(shape)) for shape in call.shapes)


def viewed_like(ties: Ties, call: Call) -> Any:
    """In the shape of another tensor: where that has units, there must be as many here."""
    value, other = call["self"], call["other"]
    if not isinstance(value, Tensor) or not isinstance(other, Tensor):
        return pinned(ties, call, "views a parameter")
    out = ties.now(ties.now(value).reshape(call.shape))
    out = ties.grid(out) if len(varied(out)) > 1 else out
    like = ties.now(other)
    if varied(out) != varied(like):
        ties.pin(out, call.because("has another shape than units ask for"))
        ties.pin(like, call.because("gives a shape in which no units lie as they do here"))
        return out
    return ties.meet(out, like, call.because("has the shape of numbers that belong to no unit")).expand(call.shape)


def copied(ties: Ties, call: Call) -> Any:
    """Written into a tensor, or into a slice of it: from then on its numbers are the units' that are there."""
    value, source = call["self"], call["src"]
    if not isinstance(value, Tensor):
        return pinned(ties, call, "writes into a parameter")
    return ties.now(join(ties, call, ties.now(value), ties.now(call.plain(ties, source))).expand(call.shape))


def filled_like(ties: Ties, call: Call) -> Any:
    """The same number everywhere: in the size of another tensor, whose units it then has, or in one written down."""
    value = call.given.get("self")
    if not isinstance(value, Tensor) or value.shape != call.shape or not varied(ids := ties.now(value)):
        return nobody(call.shape, which=BLANK)
    if not call.op.endswith("_like"):
        ties.ask(ids, call.name)
    return ids


def turned(ties: Ties, call: Call) -> Any:
    """Two dimensions at once change places or become one: none of units."""
    ids = call.ids(ties)
    dims = call.given.get("dims") or [call.given.get("dim1", 0), call.given.get("dim2", 1)]
    if {dim % ids.dim() for dim in dims} & set(varied(ids)):
        ties.pin(ids, call.because("counts positions along units"))
    return ties.now(call.moved(ids))


def paired(ties: Ties, call: Call) -> Any:
    """Complex numbers from pairs along the last dimension."""
    (value,) = call.parts()
    layers = value.layers if isinstance(value, Weight) else (ties.now(value),)
    for layer in layers:
        if layer.dim() - 1 in varied(layer):
            ties.pin(layer, call.because("makes complex numbers of pairs of units"))
    few = tuple(layer.select(-1, 0) for layer in layers)
    if isinstance(value, Weight):
        return Weight(value.name, few[: len(few) - 1] or few)
    return ties.now(few[0])


def unpaired(ties: Ties, call: Call) -> Any:
    """Pairs from complex numbers, along a new last dimension."""
    return ties.now(call.ids(ties)[..., None].expand(call.shape))


def windows(ties: Ties, call: Call) -> Any:
    """Windows along a dimension of positions, their numbers in a new last dimension."""
    ids, dim = call.ids(ties), call["dimension"]
    if dim % ids.dim() in varied(ids):
        ties.pin(ids, call.because("counts positions along units"))
    return ties.now(ids.narrow(dim, 0, 1)[..., None].expand(call.shape))


def created(ties: Ties, call: Call) -> Tensor:
    """Numbers of a shape written in the code."""
    return nobody(call.shape, which=CONSTANT)


WRITTEN = ("slice", "narrow")
SIZED = ("expand", "broadcast_to", "repeat", "tile")
MOVED = (
    "permute", "transpose", "t", "numpy_T", "mT", "movedim", "swapaxes", "flatten", "squeeze", "unsqueeze", "expand",
    "broadcast_to", "flip", "repeat", "repeat_interleave", "tile", "pixel_unshuffle",
    "swapdims", "moveaxis", "swapaxes", "adjoint", "mH", "numpy_T",
)  # fmt: skip
STACKED = {"hstack": 1, "vstack": 0, "dstack": 2, "column_stack": 1}  # along this dimension
RULES = (
    dict.fromkeys(MOVED, moved)
    | dict.fromkeys(("view", "reshape", "unflatten", "_unsafe_view"), viewed)
    | dict.fromkeys(("chunk", "split", "split_with_sizes", "slice", "narrow", "tensor_split"), parted)
    | dict.fromkeys(("select", "unbind", "roll"), picked)
    | dict.fromkeys(("cat", "concat", "concatenate", "stack", *STACKED), joined)
    | dict.fromkeys(("expand_as",), spread_like)
    | dict.fromkeys(("broadcast_tensors",), spread_together)
    | dict.fromkeys(("view_as", "reshape_as"), viewed_like)
    | dict.fromkeys(("rot90", "diagonal"), turned)
    | {"copy": copied, "unfold": windows, "view_as_complex": paired, "view_as_real": unpaired}
    | dict.fromkeys(("pad", "constant_pad_nd"), padded)
    | dict.fromkeys(("ones_like", "zeros_like", "full_like", "empty_like", "new_zeros", "new_ones", "new_full",
                     "new_empty", "zeros", "ones", "full", "empty", "scalar_tensor"), filled_like)
    | dict.fromkeys(("pixel_shuffle",), shuffled)
    | dict.fromkeys(("channel_shuffle",), channel_shuffled)
)  # fmt: skip
