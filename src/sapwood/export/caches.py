"""Caches: Hugging Face's models return keys and values of attention unless told otherwise, which no graph can hold.

And logits of all tokens, which are larger than a small model.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from sapwood.scoring import batches as batching


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


def without_logits(model: nn.Module, arguments: batching.Arguments) -> batching.Arguments:
    """The same call, but for logits of all tokens, where a model can be told to compute the last only."""
    takes = inspect.signature(batching.inner(model).forward).parameters
    if "logits_to_keep" not in takes or any(name in arguments.keywords for name in ("labels", "logits_to_keep")):
        return arguments
    return arguments._replace(keywords={**arguments.keywords, "logits_to_keep": 1})


def _config(module: nn.Module) -> Any:
    return getattr(module, "config", None)
