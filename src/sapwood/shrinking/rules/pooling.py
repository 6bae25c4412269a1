"""Pooling and resampling stay within a channel; sums over units count them, so those stay."""

from typing import Any

from torch import Tensor

from sapwood.shrinking.rules.call import Call, pinned
from sapwood.shrinking.rules.elementwise import elementwise
from sapwood.shrinking.rules.ids import Ties, Weight, varied


def pooled(ties: Ties, call: Call) -> Any:
    """All positions of a channel flow into each other: max, average and adaptive pooling, interpolation."""
    x = call.ids(ties)
    for dim in varied(x):
        if dim >= x.dim() - _spatial(call.op):
            x = ties.tie_over(x, dim)
    few = x
    for dim in range(x.dim() - _spatial(call.op), x.dim()):
        few = few.narrow(dim, 0, 1)
    outputs = tuple(ties.now(few.expand(shape)) for shape in call.shapes)
    return outputs if len(outputs) > 1 else outputs[0]


def _spatial(op: str) -> int:
    """How many of the last dimensions are positions: the digit in max_pool2d, upsample_nearest1d."""
    return int(next(letter for letter in op if letter.isdigit())) if any(map(str.isdigit, op)) else 2


def reduced(ties: Ties, call: Call) -> Any:
    """Mean, sum, maximum, norm over dimensions: over positions they pass; over units they pin."""
    if "other" in call.given:  # maximum of two tensors
        return elementwise(ties, call)
    if any(isinstance(part, Weight) for part in call.parts()):
        return pinned(ties, call, "reduces a parameter")
    x = call.ids(ties)
    given = call.given.get("dim")
    dims = [dim % x.dim() for dim in ([given] if isinstance(given, int) else given or range(x.dim()))]
    if set(dims) & set(varied(x)):
        ties.pin(
            x, call.because("goes over units; a rule for that would go into src/sapwood/shrinking/rules/pooling.py")
        )
    outputs = tuple(_over(ties, x, dims, len(shape) == x.dim()) for shape in call.shapes)
    return outputs if len(outputs) > 1 else outputs[0]


def _over(ties: Ties, x: Tensor, dims: list[int], keepdim: bool) -> Tensor:
    for dim in sorted(dims, reverse=True):
        x = x.narrow(dim, 0, 1) if keepdim else x.select(dim, 0)
    return ties.now(x)


POOLS = [f"{kind}_pool{n}d" for kind in ("max", "avg", "adaptive_avg", "adaptive_max", "lp") for n in (1, 2, 3)]
SIZES = ["upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "upsample_linear1d",
         "upsample_bilinear2d", "upsample_bicubic2d", "upsample_trilinear3d"]  # fmt: skip
RULES: dict[str, Any] = dict.fromkeys(
    [*POOLS, *(f"max_pool{n}d_with_indices" for n in (1, 2, 3)), *SIZES], pooled
) | dict.fromkeys(
    ("mean", "sum", "amax", "amin", "max", "min", "var", "std", "argmax", "argmin", "linalg_vector_norm", "norm"),
    reduced,
)
