"""Caches: Hugging Face's models return keys and values of attention unless told otherwise, which no graph can hold."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


@contextmanager
def without_caches(model: nn.Module) -> Iterator[Callable[[nn.Module], None]]:
    """Turn `config.use_cache` off inside. The function that is given turns it on again in a copy of the model."""
    on = [name for name, module in model.named_modules() if getattr(_config(module), "use_cache", None) is True]

    def turned(network: nn.Module, use: bool) -> None:
        for name in on:
            _config(network.get_submodule(name)).use_cache = use

    turned(model, False)
    try:
        yield lambda network: turned(network, True)
    finally:
        turned(model, True)


def _config(module: nn.Module) -> Any:
    return getattr(module, "config", None)
