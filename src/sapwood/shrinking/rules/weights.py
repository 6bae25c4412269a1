"""Weights computed from weights: scaled by row, masked, standardised, cut, stacked, made of low-rank adapters.

What is computed from parameters alone stays a weight with ids for each of its dimensions, tied to those of its parts.
Rows may always go with the parts' rows; columns where a 0 in the parts makes the whole 0, as in sums and products.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import gcd, prod
from typing import Any, Literal

import torch
from torch import Tensor

from sapwood.shrinking.rules.call import Call, in_parts, pinned
from sapwood.shrinking.rules.ids import Ties
from sapwood.shrinking.rules.strides import steady, thin, varied
from sapwood.shrinking.rules.values import BLANK, CONSTANT, Value, Weight, nobody, walk

Kind = Literal["sum", "product", "quotient", "zeros", "other"]
RESHAPED = "computes with a reshaped weight"


def number_by_number(ties: Ties, call: Call) -> Any:
    """Positions that meet live and die together. Of one weight that stays 0 where it is 0, the weight itself."""
    parts = call.parts()
    first = parts[0]
    if len(parts) == 1 and isinstance(first, Weight) and _keeps_zero(call):
        return replace(first)  # another object: other numbers
    return combined(ties, call, parts, _kind(call))


def _keeps_zero(call: Call) -> bool:
    other, exponent = call.given.get("other", 1), call.given.get("exponent", -1)
    if call.op in ("add", "sub", "rsub"):
        return bool(other == 0)
    if call.op == "pow":
        return isinstance(exponent, int | float) and exponent > 0
    return call.op in KEEPING


def _kind(call: Call) -> Kind:
    kind = KINDS.get(call.op, "other")
    if kind in ("sum", "quotient") and len(call.parts()) < 2:  # a number that is written in the code
        return "other"
    return "product" if call.op == "masked_fill" and call.given.get("value") == 0 else kind


def combined(ties: Ties, call: Call, parts: Sequence[Value], kind: Kind) -> Weight:
    """A weight of the call's shape, from parts that meet number by number after broadcasting."""
    shape, layers = call.shape, list[Tensor]()
    spread = [[layer.expand(shape) for layer in (p.layers if isinstance(p, Weight) else (p,))] for p in parts]
    for dims in _groups([varied(layer) for of_part in spread for layer in of_part]):
        view = [shape[d] if d in dims else 1 for d in range(len(shape))]
        new = ties.fresh(prod(view)).view(view).expand(shape)
        missing = [_met(ties, call, new, dims, of_part, kind, n) for n, of_part in enumerate(spread)]
        if kind == "product" and not any(_readable(ties, dims, of_part) for of_part in spread):
            ties.unreadable(thin(new), call.because("multiplies what is not 0 where its parts are"))
        for part in (part for part, gone in zip(parts, missing, strict=True) if gone):
            _beside(ties, call, new, dims, part)
        if not _reads_zero(kind, missing):
            ties.unreadable(thin(new), call.because("makes of a 0 in a weight something else"))
        layers.append(new)
    return Weight("", (*layers, nobody(shape, CONSTANT)))


def _reads_zero(kind: Kind, missing: Sequence[bool]) -> bool:
    """Whether a 0 in each part that is read makes the whole 0."""
    if kind == "quotient":
        return not missing[0] and all(missing[1:])
    return kind != "other" and not (kind == "sum" and any(missing))


def _groups(changing: Sequence[Sequence[int]]) -> list[list[int]]:
    """The dimensions along which something changes; those that one layer has together are one group."""
    groups: list[set[int]] = []
    for dims in changing:
        if dims:
            touching = [group for group in groups if group & set(dims)]
            groups = [group for group in groups if not group & set(dims)] + [set(dims).union(*touching)]
    return sorted(sorted(group) for group in groups)


def _met(ties: Ties, call: Call, new: Tensor, dims: list[int], part: list[Tensor], kind: Kind, n: int) -> bool:
    """Tie a part's positions to those of the whole; whether the part has none of its own along these dimensions."""
    here = [layer for layer in part if set(varied(layer)) & set(dims)]
    if len(here) == 1 and varied(here[0]) == dims:
        reads = kind not in ("zeros", "quotient") or (kind == "quotient" and n == 0)
        reads &= kind != "product" or _readable(ties, dims, part)  # one factor of 0 is enough
        ties.flow(thin(new).flatten(), thin(here[0]).flatten(), call.because("meets numbers of its own"), reads=reads)
    elif here:
        for layer in (new, *here):
            ties.pin(layer, call.because(RESHAPED))
    return not here


def _readable(ties: Ties, dims: list[int], part: list[Tensor]) -> bool:
    """Whether a part has positions of its own there that may be read as 0."""
    here = [layer for layer in part if varied(layer) == dims]
    return bool(here) and all(ties.readable(thin(layer)) for layer in here)


def _beside(ties: Ties, call: Call, new: Tensor, dims: list[int], part: Value) -> None:
    """A part that has as many numbers, but none that belong to these positions: its size may be written in the code."""
    sizes = (*[1] * (len(call.shape) - len(part.shape)), *part.shape)
    if any(sizes[d] > 1 for d in dims):
        if isinstance(part, Weight) or _which(part) == BLANK:
            ties.ask(new, call.name)
        else:
            ties.pin(new, call.because("meets numbers that are written in the code"))


def reduced(ties: Ties, call: Call) -> Any:
    """Mean, norm, standard deviation: what is along the dimensions must stay; other positions are as they were."""
    (value,) = call.parts()
    if not isinstance(value, Weight) or not call.shapes:
        return pinned(ties, call, "reduces weights to something else than numbers")
    given, rank = call.given.get("dim"), len(value.shape)
    dims = {dim % rank for dim in ([given] if isinstance(given, int) else given or range(rank))} if rank else set()
    outputs = tuple(over(ties, call, value, dims, len(shape) == rank) for shape in call.shapes)
    return outputs if len(outputs) > 1 else outputs[0]


def over(ties: Ties, call: Call, value: Weight, dims: set[int], keepdim: bool) -> Weight:
    """A weight without these dimensions, or with one position along each; who has units there keeps them."""
    layers = []
    for layer in value.layers:
        if set(varied(layer)) & dims:
            ties.pin(layer, call.because("computes a weight from all of them"))
            layer = nobody(value.shape, CONSTANT)
        for dim in sorted(dims, reverse=True):
            layer = layer.narrow(dim, 0, 1) if keepdim else layer.select(dim, 0)
        layers.append(layer)
    return Weight("", tuple(layers))


def across(ties: Ties, call: Call) -> Any:
    """Softmax: what is along the dimension must stay."""
    (value,) = call.parts()
    assert isinstance(value, Weight)
    dim = call["dim"] % len(value.shape)
    for layer in (layer for layer in value.layers if dim in varied(layer)):
        ties.pin(layer, call.because("normalises a weight across them"))
    return combined(ties, call, [value], "other")


def standardised(ties: Ties, call: Call) -> Any:
    """Batch norm of a weight, [1, rows, rest]: each row by itself, with a scale of its own; the rest must stay."""
    value, scale = call["input"], call.given.get("weight")
    if call.given.get("bias") is not None or call.given.get("running_mean") is not None or value.shape[0] != 1:
        return pinned(ties, call, "shifts a weight")
    rows = over(ties, call, value, {dim for dim in range(len(value.shape)) if dim != 1}, keepdim=True)
    parts: list[Value] = [rows]
    if scale is not None:
        view = [1, -1, *[1] * (len(value.shape) - 2)]
        parts.append(Weight("", tuple(layer.reshape(view) for layer in scale.layers)))
    rest = [layer for layer in value.layers if set(varied(layer)) - {1}]  # they stay, and those whom they read
    return Weight("", (*combined(ties, call, parts, "product").layers, *rest))


def cut(ties: Ties, call: Call) -> Any:
    """Parts of a weight: what goes in one goes in all, so that the code's cuts fall where they fell."""
    (value,) = call.parts()
    assert isinstance(value, Weight)
    dim = call.given.get("dim", 0) % len(value.shape)
    whole = value.shape[dim]
    if call.shapes and all(shape == value.shape for shape in call.shapes):
        return value if call.op in ("slice", "narrow") else (value,)
    each = _granularity(call, dim, whole)
    for layer in (layer for layer in value.layers if dim in varied(layer)):
        if each == 1 and varied(layer) == [dim]:
            ties.pin(layer, call.because("counts positions in a weight"))
        elif each:
            ties.ask(layer, call.name)
            ties.tie_over(in_parts(layer, dim, whole // each), dim)
    found = [call.moved(layer) for layer in value.layers]
    if isinstance(found[0], Tensor):
        return Weight(value.name, tuple(steady(layer) for layer in found))
    return tuple(Weight(value.name, tuple(steady(x) for x in layers)) for layers in zip(*found, strict=True))


def _granularity(call: Call, dim: int, whole: int) -> int:
    """The largest length of which all cuts are multiples."""
    if call.op in ("select", "unbind", "index_select", "flip", "roll") or call.given.get("step", 1) != 1:
        return 1
    found = gcd(whole, int(call.given.get("start") or 0) % whole)
    for shape in call.shapes:
        found = gcd(found, shape[dim])
    return found


def joined(ties: Ties, call: Call) -> Any:
    """Weights behind or on top of one another: along `dim` each keeps its own, along others they go together."""
    parts = list(walk(call["tensors"]))
    stacked, rank = call.op == "stack", len(call.shape)
    dim = call["dim"] % rank
    parts = [_unsqueezed(part, dim) if stacked else part for part in parts]
    layers = [_row_of(ties, call, parts, dim)] if not stacked else []
    for other in (d for d in range(rank) if d != dim and call.shape[d] > 1):
        new = ties.fresh(call.shape[other])
        for part in parts:
            ties.flow(new, _along(ties, call, part, other), call.because("meets numbers of its own"))
        layers.append(_placed(new, other, call.shape))
    return Weight("", (*layers, nobody(call.shape, CONSTANT)))


def _unsqueezed(part: Value, dim: int) -> Value:
    return Weight("", tuple(x.unsqueeze(dim) for x in part.layers)) if isinstance(part, Weight) else part.unsqueeze(dim)


def _row_of(ties: Ties, call: Call, parts: Sequence[Value], dim: int) -> Tensor:
    return _placed(torch.cat([_along(ties, call, part, dim) for part in parts]), dim, call.shape)


def _along(ties: Ties, call: Call, part: Value, dim: int) -> Tensor:
    """A part's ids along one dimension, [size]; whatever changes along several at once stays."""
    found = nobody((part.shape[dim],), CONSTANT if isinstance(part, Weight) else _which(part))
    for layer in part.layers if isinstance(part, Weight) else ():
        if len(varied(layer)) > 1:
            ties.pin(layer, call.because(RESHAPED))
        elif varied(layer) == [dim]:
            found = thin(layer).flatten()
    return found


def _placed(ids: Tensor, dim: int, shape: torch.Size) -> Tensor:
    return ids.view([-1 if d == dim else 1 for d in range(len(shape))]).expand(shape)


def viewed(ties: Ties, call: Call) -> Any:
    """Another shape of the same numbers, perhaps one that is written in the code."""
    value = call.parts()[0]
    assert isinstance(value, Weight)
    for layer in (layer for layer in value.layers if varied(layer)):
        ties.ask(layer, call.name)
    grow = call.op == "expand_as"
    return Weight(
        value.name, tuple(steady(x.expand(call.shape) if grow else x.reshape(call.shape)) for x in value.layers)
    )


def like(ties: Ties, call: Call) -> Any:
    """Zeros or ones for each position of a weight."""
    return combined(ties, call, call.parts()[:1], "zeros" if call.op == "zeros_like" else "other")


KEEPING = {
    "neg", "relu", "tanh", "abs", "sqrt", "square", "sign", "sin", "erf", "expm1", "log1p", "gelu", "silu", "elu",
    "leaky_relu", "mul", "div", "round", "floor", "trunc", "nan_to_num",
}  # fmt: skip
KINDS: dict[str, Kind] = {
    **dict.fromkeys(("add", "sub", "maximum", "minimum", "fmax", "fmin"), "sum"),
    **dict.fromkeys(("mul", "logical_and"), "product"),
    "div": "quotient",
}
OF_WEIGHTS: dict[str, Any] = (
    dict.fromkeys(("mean", "sum", "amax", "amin", "max", "min", "var", "std", "var_mean", "std_mean", "prod", "norm",
                   "linalg_vector_norm", "linalg_matrix_norm", "any", "all"), reduced)
    | dict.fromkeys(("softmax", "log_softmax"), across)
    | dict.fromkeys(("chunk", "split", "split_with_sizes", "slice", "narrow", "select", "unbind"), cut)
    | dict.fromkeys(("cat", "concat", "stack"), joined)
    | dict.fromkeys(("view", "reshape", "unflatten", "_unsafe_view", "view_as", "reshape_as", "expand_as"), viewed)
    | dict.fromkeys(("zeros_like", "ones_like", "full_like"), like)
    | {"batch_norm": standardised}
    | dict.fromkeys(("masked_fill", "where", "rsub"), number_by_number)
)  # fmt: skip


def of_weights(call: Call) -> Any:
    """The rule for an operator that computes a weight from weights and numbers of the code; None if there is none."""
    parts = call.parts()
    if not any(isinstance(part, Weight) for part in parts) or not all(_still(part) for part in parts):
        return None
    if call.op in OF_WEIGHTS:
        return OF_WEIGHTS[call.op]
    return number_by_number if call.run is not None and torch.Tag.pointwise in getattr(call.run, "tags", ()) else None


def _still(part: Value) -> bool:
    """Whether this is a weight or was written in the code."""
    return isinstance(part, Weight) or (part.numel() > 0 and not varied(part) and _which(part) <= CONSTANT)


def _which(part: Tensor) -> int:
    """The id of a tensor that belongs to no unit."""
    return int(thin(part).flatten()[0])
