"""Contractions: the space of multiplications behind each operator that multiplies and adds.

One multiply-add is one point of a space whose axes are the operator's indices, as in the letters of an einsum.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Size

from sapwood.shrinking.rules.call import Call
from sapwood.shrinking.rules.ids import Value


@dataclass(frozen=True)
class Space:
    """Tensors with a name for each of their axes, and how often what they span is gone through."""

    placed: tuple[tuple[Sequence[str], Value], ...]
    times: int = 1

    def sizes(self) -> dict[str, int]:
        """The extent along every axis; a tensor of size 1 there is broadcast."""
        found: dict[str, int] = {}
        for axes, value in self.placed:
            for axis, size in zip(axes, value.shape, strict=True):
                found[axis] = max(size, found.get(axis, 1)) if size else 0
        return found


Spaces = Callable[[Call, Any], list[Space] | None]  # an operator, and the ids of its output; None: not this way


def linear(call: Call, out: Any) -> list[Space]:
    """y = x Wᵀ + b."""
    x, w = call["input"], call["weight"]
    return [Space((([*_leading(len(x.shape) - 1), "i"], x), (["o", "i"][-len(w.shape) :], w)))]


def product(call: Call, out: Any) -> list[Space]:
    """Matrix times matrix, for each of a batch; matrix times vector is no matrix product, for torch's counter neither.

    Batches line up from the right, as in broadcasting.
    """
    names = (("mat1", "mat2"), ("batch1", "batch2"), ("self", "mat2"), ("self", "other"), ("input", "other"))
    left, right = next((call[a], call[b]) for a, b in names if a in call.given and b in call.given)
    if min(len(left.shape), len(right.shape)) < 2:
        return []
    return [
        Space((
            ([*_leading(len(left.shape) - 2), "m", "k"], left),
            ([*_leading(len(right.shape) - 2), "k", "n"], right),
        ))
    ]  # fmt: skip


def convolution(call: Call, out: Any) -> list[Space]:
    """All numbers of the filters at every position: of the output, or of the input where it is transposed.

    Filters are [O, I / groups, kernel], transposed [I, O / groups, kernel]; padding is multiplied too.
    """
    x, w = call["input"], call["weight"]
    transposed = call.given.get("transposed", call.op.startswith("conv_transpose"))
    where, channels = (x.shape if transposed else call.shape), len(x.shape) - len(w.shape) + 1
    return [Space(((_leading(len(w.shape)), w),), times=_numel(where[:channels]) * _numel(where[channels + 1 :]))]


def attention(call: Call, out: Any) -> list[Space]:
    """Queries times keys, then scores times values: each query and each answer meets every key once.

    What is masked is multiplied too. The answer's heads are those of the queries, so keys and values may have fewer.
    """
    keys = call["key"].shape[-2]
    return [Space(((_leading(len(x.shape)), x),), times=keys) for x in (call["query"], out)]


def einsum(call: Call, out: Any) -> list[Space] | None:
    """Letters as they are. None for more than two tensors, and for letters that are summed before the product."""
    tensors = call["tensors"]
    if len(tensors) != 2:
        return None
    left, right, answer = map(set, _letters(call["equation"], tensors))
    if (left ^ right) - answer:
        return None
    summed = (left & right) - answer  # none: number by number
    return [Space(tuple(zip(_letters(call["equation"], tensors), tensors, strict=False)))] if summed else []


def recurrent(call: Call, out: Any) -> list[Space]:
    """Every matrix of every layer and direction once for each step of each sequence."""
    x = call.given.get("input", call.given.get("data"))
    assert x is not None
    given = call["params"] if "params" in call.given else [call["w_ih"], call["w_hh"]]
    return [Space(((["o", "i"], w),), times=_numel(x.shape[:-1])) for w in given if len(w.shape) == 2]


def _leading(count: int) -> list[str]:
    """Names for `count` axes, the same for tensors that line up from the right."""
    return [f"axis -{back}" for back in range(count, 0, -1)]


def _numel(shape: Size | tuple[int, ...]) -> int:
    found = 1
    for size in shape:
        found *= size
    return found


def _letters(equation: str, tensors: Sequence[Value]) -> list[list[str]]:
    """Names of the axes of both tensors and of the answer; "..." lines up from the right."""
    terms, arrow, answer = equation.replace(" ", "").partition("->")
    parts = terms.split(",")
    few = [len(value.shape) - len(part.replace("...", "")) for part, value in zip(parts, tensors, strict=True)]
    if not arrow:  # letters that stand there once, in the alphabet's order
        letters = terms.replace("...", "").replace(",", "")
        answer = "..." * ("..." in terms) + "".join(sorted(c for c in letters if letters.count(c) == 1))
    return [_named(part, count) for part, count in zip([*parts, answer], [*few, max(few)], strict=True)]


def _named(part: str, dots: int) -> list[str]:
    before, ellipsis, after = part.partition("...")
    return [*before, *(_leading(dots) if ellipsis else []), *after]


CONTRACTIONS: dict[str, Spaces] = (
    {"linear": linear, "scaled_dot_product_attention": attention, "einsum": einsum}
    | dict.fromkeys(("mm", "addmm", "bmm", "baddbmm", "matmul"), product)
    | dict.fromkeys(("conv1d", "conv2d", "conv3d", "convolution"), convolution)
    | dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), convolution)
    | dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), recurrent)
    | dict.fromkeys(("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"), recurrent)
)
