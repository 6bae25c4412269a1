"""Elementwise operators tie what they bring together at the same place; activations pass ids on."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sapwood.shrinking.rules.call import Call, channels, in_parts, pinned
from sapwood.shrinking.rules.ids import Ties
from sapwood.shrinking.rules.strides import broadcast, thin, varied
from sapwood.shrinking.rules.values import CONSTANT, Weight, nobody


def elementwise(ties: Ties, call: Call) -> Any:
    """Ids at the same place are tied. A number that goes to several units at once must stay, and ties nothing."""
    parts = call.parts()
    activations = [ties.now(part) for part in parts if isinstance(part, Tensor)]
    weights = [part for part in parts if isinstance(part, Weight)]
    if not parts:
        return nobody(call.shape, which=CONSTANT)
    if not activations:
        return _of_weights(ties, call, weights)
    out = activations[0]
    for other in activations[1:]:
        out = join(ties, call, out, other)
    out = out.expand(call.shape)
    for weight in weights:
        out = held(ties, call, out, weight)
    return ties.now(out)


def join(ties: Ties, call: Call, a: Tensor, b: Tensor) -> Tensor:
    """The ids where two activations meet number by number, after broadcasting."""
    shape = broadcast(a.shape, b.shape)
    a_over_b, b_over_a = _over(a, b, shape), _over(b, a, shape)
    for few, many, over in ((a, b, a_over_b), (b, a, b_over_a)):
        if over:
            if not (a_over_b and b_over_a and _count(few) >= _count(many) + (few is b)):
                ties.pin(few, call.because("gives one number to many units"))
            if _beside(few, many):
                ties.pin(many, call.because("meets numbers that belong to no unit"))
            if not bool((thin(few) <= CONSTANT).all()):
                ties.mix(many)
    if a_over_b and b_over_a:  # every unit of the one with every unit of the other: more of them may go
        return (a if _count(a) >= _count(b) else b).expand(shape)
    if a_over_b or b_over_a:
        return (b if a_over_b else a).expand(shape)
    if (a.numel() == 1 and int(a) <= CONSTANT) or (b.numel() == 1 and int(b) <= CONSTANT):
        return torch.maximum(a, b).expand(shape)
    return ties.meet(a, b, call.because("meets numbers that belong to no unit")).expand(shape)


def _over(few: Tensor, many: Tensor, shape: torch.Size) -> bool:
    """Whether `few` is broadcast over several units of `many`."""
    missing, behind = len(shape) - few.dim(), len(shape) - many.dim()
    repeated = {d for d in range(len(shape)) if shape[d] > 1 and (d < missing or few.shape[d - missing] == 1)}
    return any(d + behind in repeated for d in varied(many))


def _beside(few: Tensor, many: Tensor) -> bool:
    """Whether `many` has units along a dimension where `few` is not broadcast."""
    missing = many.dim() - few.dim()
    return any(dim >= missing and few.shape[dim - missing] > 1 for dim in varied(many))


def held(ties: Ties, call: Call, out: Tensor, weight: Weight) -> Tensor:
    """A parameter beside an activation: its dimensions where the activation has units hold one number for each."""
    if weight.shape.numel() == 1:
        return out
    for layer in weight.layers:
        changes, shift = varied(layer), out.dim() - layer.dim()
        if len(changes) == 1 and changes[0] + shift in varied(out):
            if ties.looking and len(varied(out)) > 1:
                continue  # one number for each place in a head, the same for all heads
            out = ties.meet(out, layer, call.because("meets a parameter")).expand(call.shape)
        elif changes:
            ties.pin(layer, call.because("reads a parameter where the activation has no units"))
            if len(changes) > 1:
                ties.pin(out, call.because("reads a reshaped parameter"))
    return out


def _count(ids: Tensor) -> int:
    return len(torch.unique(thin(ids)))


def _of_weights(ties: Ties, call: Call, weights: list[Weight]) -> Any:
    if len(weights) == 1 and weights[0].shape == call.shape:
        return replace(weights[0])  # another object: its numbers are others
    if (vector := _of_vectors(ties, call, weights)) is not None:
        return vector
    return pinned(
        ties, call, "computes with several parameters; a rule for that goes into src/sapwood/shrinking/rules/"
    )


def _of_vectors(ties: Ties, call: Call, weights: list[Weight]) -> Weight | None:
    """Parameters that have one number for each unit, all along the same dimension, as those of a frozen batch norm."""
    layers = [layer for weight in weights for layer in weight.layers if varied(layer)]
    places = {dim - layer.dim() for layer in layers for dim in varied(layer)}
    if len(places) != 1 or any(len(varied(layer)) > 1 for layer in layers):
        return None
    for layer in layers[1:]:
        ties.tie(layers[0], layer)
    return Weight(weights[0].name, (ties.now(layers[0].expand(call.shape)),))


def passed(ties: Ties, call: Call) -> Any:
    """The first argument as it is: dropout, change of type; also other numbers of its shape, as zeros, one for each."""
    value = next(iter(call.given.values()))
    return ties.now(value) if isinstance(value, Tensor) else value


def prelu(ties: Ties, call: Call) -> Tensor:
    """One slope for all, or one for each channel."""
    x, slope = call.ids(ties), call["weight"]
    if slope.shape.numel() > 1:
        call.hold(ties, channels(x, 1)[:, 0], "weight")
    return ties.now(x)


def glu(ties: Ties, call: Call) -> Tensor:
    """a * sigmoid(b) of two halves: their units go in pairs."""
    x = call.ids(ties)
    dim = call["dim"] % x.dim()
    return ties.tie_over(in_parts(x, dim, 2), dim).select(dim, 0)


NUMBER_BY_NUMBER = (
    "hardswish", "log_sigmoid", "masked_fill", "rsub", "fill", "where", "real", "imag", "conj", "complex", "polar",
    "angle", "resolve_conj", "_conj", "conj_physical", "copysign",
)  # fmt: skip
RULES = dict.fromkeys(NUMBER_BY_NUMBER, elementwise) | dict.fromkeys(
    ("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout", "contiguous", "to", "_to_copy", "type_as",
     "detach", "alias", "lift_fresh_copy", "_assert_tensor_metadata", "clone", "zeros_like", "ones_like", "full_like",
     "rand_like", "randn_like"),
    passed,
) | {"prelu": prelu, "glu": glu}  # fmt: skip
