"""Observing: sums over samples of what layers see, by hooks that leave no trace."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from sapwood.errors import InputError, unknown

# Shape suffixes: N samples times positions, I inputs times kernel positions, O outputs.
Layer = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d


@dataclass(eq=False)
class Sight:
    """What one layer saw in one batch, in one canonical shape whatever the layer's type.

    y_NO has one row per sample and position; x_NI, made when asked for, one column per weight an output reads.
    """

    layer: Layer
    x: Tensor
    y: Tensor
    gy: Tensor | None = None  # d(sum of the samples' losses) / dy, for statistics that look backward

    @cached_property
    def y_NO(self) -> Tensor:
        """Outputs before the activation function, [N, O]."""
        return _rows(self.layer, self.y)

    @cached_property
    def gy_NO(self) -> Tensor:
        """The outputs' gradients, [N, O]."""
        if self.gy is None:
            raise InputError("this statistic needs gradients; use observe(..., loss=...)")
        return _rows(self.layer, self.gy)

    @cached_property
    def x_NI(self) -> Tensor:
        """Inputs, [N, I]: what each output position multiplies with its weights."""
        return self.x.flatten(0, -2) if isinstance(self.layer, nn.Linear) else _patches(self.layer, self.x)


class Statistic(str):
    """A sum over samples of something a layer sees. It equals its name, so evidence can be saved by name.

    Law: of(a ++ b) = of(a) + of(b) for any split of the samples.
    """

    of: Callable[[Sight], Tensor]
    backward: bool

    def __new__(cls, name: str, of: Callable[[Sight], Tensor], backward: bool = False) -> "Statistic":
        self = super().__new__(cls, name)
        self.of, self.backward = of, backward
        return self


Evidence = dict[str, dict[str, Tensor]]  # layer name -> statistic -> its sum


def prunable(model: nn.Module) -> dict[str, Layer]:
    """The layers with a weight to prune, by name in order of definition: linear and convolutional."""
    found = {name: layer for name, layer in model.named_modules() if isinstance(layer, Layer)}
    if not found:
        raise InputError(f"{type(model).__name__} has no Linear or Conv layer, so there is nothing to prune")
    return found


def hidden(model: nn.Module) -> list[str]:
    """All prunable layers but the last, which gives the network's answer."""
    names = list(prunable(model))[:-1]
    if not names:
        raise InputError(f"{type(model).__name__} has one prunable layer only, its output; name the layers with only=")
    return names


def chosen(model: nn.Module, only: Iterable[str] | None) -> dict[str, Layer]:
    """The prunable layers named in `only`; all of them when it is None."""
    layers = prunable(model)
    for name in only or ():
        if name not in layers:
            raise unknown("layer", name, layers)
    return layers if only is None else {name: layers[name] for name in only}


@contextmanager
def observing(
    model: nn.Module,
    *statistics: Statistic,
    only: Iterable[str] | None = None,
    training: bool | None = None,
    into: Evidence | None = None,
) -> Iterator[Evidence]:
    """Adds up statistics over every forward pass inside the block, and leaves nothing on the model.

    `training=True` counts only passes in training mode, so that evaluating inside the block is not seen.
    """
    evidence: Evidence = {} if into is None else into
    for statistic in statistics:
        if statistic.backward:
            raise InputError(f"statistic {str(statistic)!r} looks at gradients; use observe(..., loss=...)")
    hooks = [
        layer.register_forward_hook(_adding(name, statistics, evidence, training))
        for name, layer in chosen(model, only).items()
    ]
    try:
        yield evidence
    finally:
        _remove(hooks)


def observe(
    model: nn.Module,
    batches: Iterable[Any],
    *statistics: Statistic,
    loss: Callable[[Tensor, Any], Tensor] | None = None,
    only: Sequence[str] | None = None,
) -> Evidence:
    """Statistics over `batches` (each with .inputs), in evaluation mode; the model is left as it was.

    Backward statistics need `loss(outputs, batch)`, the batch's *sum* of losses; gradients are not accumulated.
    """
    backward = any(statistic.backward for statistic in statistics)
    if backward and loss is None:
        raise InputError("a statistic looks at gradients; give observe() a loss")
    evidence: Evidence = {}
    seen = 0
    with evaluating(model):
        for batch in batches:
            seen += 1
            if backward and loss is not None:
                _see_backward(model, batch, statistics, loss, only, evidence)
            else:
                with torch.no_grad(), observing(model, *statistics, only=only, into=evidence):
                    model(batch.inputs)
    if not seen:
        raise InputError("observe() was given no batches; give at least one")
    return evidence


def _see_backward(
    model: nn.Module,
    batch: Any,
    statistics: Sequence[Statistic],
    loss: Callable[[Tensor, Any], Tensor],
    only: Sequence[str] | None,
    evidence: Evidence,
) -> None:
    sights: dict[str, Sight] = {}

    def look(name: str) -> Callable[..., None]:
        def hook(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            sights[name] = Sight(_as_layer(layer), inputs[0], output)

        return hook

    hooks = [layer.register_forward_hook(look(name)) for name, layer in chosen(model, only).items()]
    try:
        with torch.enable_grad():
            total = loss(model(batch.inputs), batch)
            grads = torch.autograd.grad(total, [s.y for s in sights.values()])
    finally:
        _remove(hooks)
    for (name, sight), gy in zip(sights.items(), grads, strict=True):
        with torch.no_grad():
            _add(evidence, name, statistics, Sight(sight.layer, sight.x.detach(), sight.y.detach(), gy))


def _adding(
    name: str, statistics: Sequence[Statistic], evidence: Evidence, training: bool | None
) -> Callable[..., None]:
    @torch.no_grad()
    def hook(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if training is None or layer.training == training:
            _add(evidence, name, statistics, Sight(_as_layer(layer), inputs[0], output))

    return hook


def _add(evidence: Evidence, name: str, statistics: Sequence[Statistic], sight: Sight) -> None:
    sums = evidence.setdefault(name, {})
    for statistic in statistics:
        value = statistic.of(sight)
        if statistic in sums:
            sums[statistic] += value
        else:
            sums[str(statistic)] = value


def _as_layer(layer: nn.Module) -> Layer:
    assert isinstance(layer, Layer)
    return layer


def _rows(layer: Layer, y: Tensor) -> Tensor:
    """[N, O] from a layer's output: channels last, everything else in front."""
    if isinstance(layer, nn.Linear):
        return y if y.dim() == 2 else y.flatten(0, -2)
    return y.movedim(1, -1).flatten(0, -2)


def _patches(layer: nn.Conv1d | nn.Conv2d | nn.Conv3d, x: Tensor) -> Tensor:
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


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; every module's own mode afterwards."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _remove(hooks: Iterable[RemovableHandle]) -> None:
    for hook in hooks:
        hook.remove()
