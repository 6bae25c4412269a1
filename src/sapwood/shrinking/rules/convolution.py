"""Convolutions: contractions over channels, in groups or one by one; transposed ones make units by columns."""

from typing import Any

from torch import Tensor

from sapwood.shrinking.rules.call import Call, channels, pinned, spread
from sapwood.shrinking.rules.contraction import contracted
from sapwood.shrinking.rules.ids import Ties
from sapwood.shrinking.rules.positions import along
from sapwood.shrinking.rules.values import Weight

NO_WEIGHT = "has a computed weight; a rule for that goes into src/sapwood/shrinking/rules/convolution.py"


def convolution(ties: Ties, call: Call) -> Any:
    """w is [O, I / groups, kernel]."""
    x, w, groups = call.ids(ties), call["weight"], call["groups"]
    if not isinstance(w, Weight):
        return pinned(ties, call, NO_WEIGHT)
    dim = x.dim() - len(w.shape) + 1
    if groups == 1:
        rows = contracted(ties, call, x, dim, w, reads=1, makes=0)
    elif w.shape[1] == 1:
        rows = _one_by_one(ties, call, channels(x, dim), w)
    else:
        rows = _in_groups(ties, call, channels(x, dim), w, groups)
    call.hold(ties, rows, "bias")
    return ties.now(spread(rows, dim, call.shape))


def _one_by_one(ties: Ties, call: Call, x_CN: Tensor, w: Weight) -> Tensor:
    """Every channel has filters of its own (depthwise): they live and die with it."""
    rows = along(ties, w, 0, call.because("reads a reshaped weight"))
    ties.meet(x_CN[:, None], rows.view(len(x_CN), -1, 1), call.because("reads numbers that belong to no unit"))
    return rows


def _in_groups(ties: Ties, call: Call, x_CN: Tensor, w: Weight, groups: int) -> Tensor:
    """All groups keep equally many: the same go in every group, of what is read and of what is made."""
    columns, rows = (along(ties, w, dim, call.because("reads a reshaped weight")) for dim in (1, 0))
    x_GIN = x_CN.view(groups, -1, x_CN.shape[1])
    ties.meet(x_GIN, columns[None, :, None], call.because("reads numbers that belong to no unit"))
    ties.tie_over(rows.view(groups, -1), 0)
    ties.mark(makes=rows, reads=columns)
    return rows


def transposed(ties: Ties, call: Call) -> Any:
    """w is [I, O / groups, kernel]."""
    x, w, groups = call.ids(ties), call["weight"], call["groups"]
    if not isinstance(w, Weight):
        return pinned(ties, call, NO_WEIGHT)
    dim = x.dim() - len(w.shape) + 1
    if groups == w.shape[0] > 1 and w.shape[1] == 1:
        rows = _one_by_one(ties, call, channels(x, dim), w)
    elif groups > 1:
        rows = _transposed_in_groups(ties, call, channels(x, dim), w, groups)
    else:
        rows = contracted(ties, call, x, dim, w, reads=0, makes=1)
    call.hold(ties, rows, "bias")
    return ties.now(spread(rows, dim, call.shape))


def _transposed_in_groups(ties: Ties, call: Call, x_CN: Tensor, w: Weight, groups: int) -> Tensor:
    columns, rows = (along(ties, w, dim, call.because("reads a reshaped weight")) for dim in (0, 1))
    ties.meet(x_CN, columns[:, None], call.because("reads numbers that belong to no unit"))
    ties.tie_over(columns.view(groups, -1), 0)
    ties.mark(makes=rows, reads=columns)
    return rows.repeat(groups)


RULES = dict.fromkeys(("conv1d", "conv2d", "conv3d"), convolution) | dict.fromkeys(
    ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), transposed
)
