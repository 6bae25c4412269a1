"""Layout: a layer's inputs and outputs as matrices, one row per sample and position, whatever the layer's type.

Shape suffixes: N samples times positions, I inputs times kernel positions, O outputs.
"""

import math

from torch import Tensor, nn

from sapwood.errors import InputError

Layer = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d


def rows(layer: Layer, y: Tensor) -> Tensor:
    """[N, O] from a layer's output: channels last, everything else in front."""
    if isinstance(layer, nn.Linear):
        return y if y.dim() == 2 else y.flatten(0, -2)
    return y.movedim(1, -1).flatten(0, -2)


def patches(layer: nn.Conv1d | nn.Conv2d | nn.Conv3d, x: Tensor) -> Tensor:
    """[N, I]: the inputs under the kernel at each output position, in the order of weight.flatten(1)."""
    if layer.groups != 1:
        raise InputError(
            f"inputs of {layer} cannot be laid out as one row: groups={layer.groups}; use a statistic of its outputs"
        )
    for d, (kernel, stride, dilation) in enumerate(zip(layer.kernel_size, layer.stride, layer.dilation, strict=True)):
        x = _padded(layer, x, d)
        reach = dilation * (kernel - 1) + 1
        x = x.unfold(2 + d, reach, stride)[..., ::dilation]
    dims = len(layer.kernel_size)
    return x.movedim(1, 1 + dims).reshape(-1, layer.in_channels * math.prod(layer.kernel_size))


def _padded(layer: nn.Conv1d | nn.Conv2d | nn.Conv3d, x: Tensor, d: int) -> Tensor:
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        raise InputError(
            f"inputs of {layer} cannot be laid out: padding {layer.padding!r} in mode {layer.padding_mode!r}"
        )
    side = int(layer.padding[d])
    after = x.dim() - (2 + d) - 1
    return nn.functional.pad(x, (0, 0) * after + (side, side)) if side else x
