"""Layout: a layer's weight, inputs and outputs as matrices, whatever the layer's type.

Shape suffixes: N samples times positions, I inputs times kernel positions, O outputs. y_NO = x_NI @ w_OI.T + bias.
"""

import math
from typing import Any, TypeGuard, get_args

import torch
from torch import Tensor, nn

from sapwood.errors import InputError

Straight = nn.Conv1d | nn.Conv2d | nn.Conv3d
Transposed = nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d
Layer = nn.Linear | Straight | Transposed
CONVOLUTIONS = (*get_args(Straight), *get_args(Transposed))  # asking for a tuple is faster than for a union


def is_layer(module: nn.Module) -> TypeGuard[Layer]:
    """Whether a module multiplies its input with one weight: linear, convolutional, or GPT-2's Conv1D."""
    return isinstance(module, Layer) or is_turned(module)


def is_turned(module: nn.Module) -> bool:
    """Whether it is the Conv1D of transformers: a linear layer whose weight is [inputs, outputs]."""
    if not any(kind.__name__ == "Conv1D" for kind in type(module).__mro__):
        return False
    weight, outputs = getattr(module, "weight", None), getattr(module, "nf", None)
    return isinstance(weight, Tensor) and weight.dim() == 2 and weight.shape[1] == outputs


def rows(layer: nn.Module, y: Tensor) -> Tensor:
    """[N, O] from a layer's output: channels last, everything else in front."""
    if isinstance(layer, CONVOLUTIONS):
        return y.movedim(-1 - len(layer.kernel_size), -1).flatten(0, -2)
    return y if y.dim() == 2 else y[None] if y.dim() == 1 else y.flatten(0, -2)


def matrix(layer: nn.Module | None, w: Tensor) -> Tensor:
    """w_OI, the weight (or its gradient, or its mask) with one row per output; of a mere parameter, its rows."""
    if isinstance(layer, Transposed):
        inputs, outputs, *kernel = w.shape
        grouped = w.reshape(layer.groups, inputs // layer.groups, outputs, *kernel)
        return grouped.transpose(1, 2).flatten(0, 1).flatten(1)
    return w.T if layer is not None and is_turned(layer) else w.flatten(1)


def shaped(layer: nn.Module | None, s_OI: Tensor, like: Tensor) -> Tensor:
    """A matrix [O, I] in the shape of the weight `like`: what `matrix` does, undone."""
    if isinstance(layer, Transposed):
        inputs, outputs, *kernel = like.shape
        s = s_OI.reshape(layer.groups, outputs, inputs // layer.groups, *kernel).transpose(1, 2)
        return s.reshape(like.shape)
    return s_OI.T.contiguous() if layer is not None and is_turned(layer) else s_OI.reshape(like.shape)


def columns(layer: nn.Module, x: Tensor) -> Tensor:
    """[N, I] from a layer's input: what each row of `rows` is multiplied with."""
    if isinstance(layer, Straight | Transposed):
        return patches(layer, x)
    return x.flatten(0, -2) if x.dim() > 1 else x[None]


def patches(layer: Straight | Transposed, x: Tensor) -> Tensor:
    """[N, I]: the inputs under the kernel at each output position, in the order of the columns of w_OI."""
    if layer.groups != 1:
        raise InputError(
            f"inputs of {layer} cannot be laid out as one row: groups={layer.groups}; use a statistic of its outputs"
        )
    dims, turned = len(layer.kernel_size), isinstance(layer, Transposed)
    x = x if x.dim() == dims + 2 else x[None]
    for d, (kernel, stride, dilation) in enumerate(zip(layer.kernel_size, layer.stride, layer.dilation, strict=True)):
        x = _spaced(layer, x, d) if isinstance(layer, Transposed) else _padded(layer, x, d)
        reach = dilation * (kernel - 1) + 1
        x = x.unfold(2 + d, reach, 1 if turned else stride)[..., ::dilation]
        x = x.flip(-1) if turned else x
    return x.movedim(1, 1 + dims).reshape(-1, layer.in_channels * math.prod(layer.kernel_size))


def _padded(layer: Straight, x: Tensor, d: int) -> Tensor:
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        raise InputError(
            f"inputs of {layer} cannot be laid out: padding {layer.padding!r} in mode {layer.padding_mode!r}"
        )
    return _with_sides(x, d, int(layer.padding[d]), int(layer.padding[d]))


def _spaced(layer: Transposed, x: Tensor, d: int) -> Tensor:
    """The input with stride - 1 zeros between its numbers: a straight convolution of it, the kernel turned, is y."""
    options: Any = layer
    kernel, stride, dilation, padding, more = (
        int(getattr(options, name)[d]) for name in ("kernel_size", "stride", "dilation", "padding", "output_padding")
    )
    shape, dim = list(x.shape), 2 + d
    shape[dim] = (shape[dim] - 1) * stride + 1
    wide = torch.zeros(shape, dtype=x.dtype, device=x.device)
    wide.narrow(dim, 0, shape[dim]).movedim(dim, 0)[::stride] = x.movedim(dim, 0)
    side = dilation * (kernel - 1) - padding
    return _with_sides(wide, d, side, side + more)


def _with_sides(x: Tensor, d: int, before: int, after: int) -> Tensor:
    behind = x.dim() - (2 + d) - 1
    return nn.functional.pad(x, (0, 0) * behind + (before, after)) if before or after else x
