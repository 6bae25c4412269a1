"""Contractions: the space of multiplications behind each operator that multiplies and adds.

One multiply-add is one point of a space whose axes are the operator's indices, as in the letters of an einsum.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Size

from sapwood.shrinking.rules.call import Call
from sapwood.shrinking.rules.letters import LETTERS, dropped, leading
from sapwood.shrinking.rules.values import Value


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
    return [Space((([*leading(len(x.shape) - 1), "i"], x), (["o", "i"][-len(w.shape) :], w)))]


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
            ([*leading(len(left.shape) - 2), "m", "k"], left),
            ([*leading(len(right.shape) - 2), "k", "n"], right),
        ))
    ]  # fmt: skip


def convolution(call: Call, out: Any) -> list[Space]:
    """All numbers of the filters at every position: of the output, or of the input where it is transposed.

    Filters are [O, I / groups, kernel], transposed [I, O / groups, kernel]; padding is multiplied too.
    """
    x, w = call["input"], call["weight"]
    transposed = call.given.get("transposed", call.op.startswith("conv_transpose"))
    where, channels = (x.shape if transposed else call.shape), len(x.shape) - len(w.shape) + 1
    return [Space(((leading(len(w.shape)), w),), times=_numel(where[:channels]) * _numel(where[channels + 1 :]))]


def attention(call: Call, out: Any) -> list[Space]:
    """Queries times keys, then scores times values: each query and each answer meets every key once.

    What is masked is multiplied too. The answer's heads are those of the queries, so keys and values may have fewer.
    """
    keys = call["key"].shape[-2]
    return [Space(((leading(len(x.shape)), x),), times=keys) for x in (call["query"], out)]


def lettered(call: Call, out: Any) -> list[Space]:
    """Letters as they are, from left to right. What only one factor has, and the answer not, is summed before."""
    factors, answer = LETTERS[call.op](call)
    spaces, seen = list[Space](), factors[:1]
    for n, right in enumerate(factors[1:], start=2):
        later = {*answer, *(name for factor in factors[n:] for name in factor.axes)}
        both = {name for factor in seen for name in factor.axes} & {*right.axes}
        seen = [dropped(factor, {*factor.axes} - both - later) for factor in (*seen, right)]
        if both - later:  # else number by number
            spaces.append(Space(tuple((factor.axes, factor.value) for factor in seen)))
        seen = [dropped(factor, both - later) for factor in seen]
    return spaces


def recurrent(call: Call, out: Any) -> list[Space]:
    """Every matrix of every layer and direction once for each step of each sequence."""
    x = call.given.get("input", call.given.get("data"))
    assert x is not None
    given = call["params"] if "params" in call.given else [call["w_ih"], call["w_hh"]]
    return [Space(((["o", "i"], w),), times=_numel(x.shape[:-1])) for w in given if len(w.shape) == 2]


def _numel(shape: Size | tuple[int, ...]) -> int:
    found = 1
    for size in shape:
        found *= size
    return found


CONTRACTIONS: dict[str, Spaces] = (
    {"linear": linear, "scaled_dot_product_attention": attention}
    | dict.fromkeys(("einsum", "inner", "tensordot", "_grouped_mm", "transformers.grouped_mm_fallback"), lettered)
    | dict.fromkeys(("mm", "addmm", "bmm", "baddbmm", "matmul"), product)
    | dict.fromkeys(("conv1d", "conv2d", "conv3d", "convolution"), convolution)
    | dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), convolution)
    | dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), recurrent)
    | dict.fromkeys(("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"), recurrent)
)
