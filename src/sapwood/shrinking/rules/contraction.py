"""Contractions read units by the columns of a weight and make new ones by its rows: linear layers, products."""

from typing import Any

from torch import Tensor

from sapwood.shrinking.rules.call import Call, channels, pinned
from sapwood.shrinking.rules.ids import Ties, Weight, along, nobody, varied


def contracted(ties: Ties, call: Call, x: Tensor, dim: int, weight: Weight, *, reads: int, makes: int) -> Tensor:
    """Units along dimension `dim` of x are read by the weight's dimension `reads`; the ids it makes, [O]."""
    columns = along(ties, weight, reads, call.because("reads a reshaped weight"))
    rows = along(ties, weight, makes, call.because("reads a reshaped weight"))
    if varied(x) and dim not in varied(x):
        ties.pin(x, call.because("keeps the dimension along which units lie"))
    ties.meet(channels(x, dim), columns[:, None], call.because("reads numbers that belong to no unit"))
    ties.mark(makes=rows, reads=columns)
    return rows


def linear(ties: Ties, call: Call) -> Any:
    """y = x Wᵀ + b."""
    x, weight = call.ids(ties), call["weight"]
    if not isinstance(weight, Weight):
        return pinned(
            ties, call, "has a computed weight; a rule for that goes into src/sapwood/shrinking/rules/contraction.py"
        )
    rows = contracted(ties, call, x, x.dim() - 1, weight, reads=1, makes=0)
    call.hold(ties, rows, "bias")
    return ties.now(rows.expand(call.shape))


def product(ties: Ties, call: Call) -> Any:
    """x W of an activation and a matrix of parameters, such as a transposed weight used twice."""
    left, right = call.given.get("mat1", call.given.get("self")), call.given.get("mat2", call.given.get("other"))
    if isinstance(left, Weight) or not isinstance(right, Weight) or len(right.shape) != 2:
        return pinned(
            ties, call, "multiplies activations with each other; a rule for that goes into "
            "src/sapwood/shrinking/rules/contraction.py"
        )  # fmt: skip
    rows = contracted(ties, call, ties.now(left), left.dim() - 1, right, reads=0, makes=1)
    if call.op == "addmm":
        call.hold(ties, rows, "self")
    return ties.now(rows.expand(call.shape))


def embedding(ties: Ties, call: Call) -> Any:
    """Rows looked up by the input: its columns are the units."""
    rows = along(ties, call["weight"], 1, call.because("reads a reshaped weight"))
    ties.mark(makes=rows, reads=nobody((0,)))
    return ties.now(rows.expand(call.shape))


RULES = {"linear": linear, "embedding": embedding} | dict.fromkeys(("mm", "addmm", "matmul"), product)
