"""Untouched: running networks so that afterwards nothing about them, or about the random numbers, has changed."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

See = Callable[[str, Tensor, Tensor], None]  # (layer name, what the layer read, what it gave)


@contextmanager
def untouched(*models: nn.Module, training: bool = False) -> Iterator[None]:
    """Evaluation mode, no gradients; then each module's own mode and the random state are as before, also on error.

    `training`: training mode instead; what that does to buffers, such as running statistics, stays.
    """
    modes = [(module, module.training) for model in models for module in model.modules()]
    gpus = {p.device.index for model in models for p in model.parameters() if p.is_cuda}
    with torch.no_grad(), torch.random.fork_rng(devices=sorted(gpus)):
        try:
            for model in models:
                model.train(training)
            yield
        finally:
            for module, mode in modes:
                module.training = mode


@contextmanager
def watching(layers: Mapping[str, nn.Module], see: See) -> Iterator[None]:
    """While open, every call of a layer is shown to `see`; the hooks are gone afterwards, also on error."""
    with ExitStack() as hooks:
        for name, layer in layers.items():
            handle = layer.register_forward_hook(_hook(name, see))
            hooks.callback(handle.remove)
        yield


def _hook(name: str, see: See) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
    def hook(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        see(name, inputs[0], output)

    return hook
