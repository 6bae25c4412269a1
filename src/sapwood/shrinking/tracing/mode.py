"""Mode: whether a model's own code looks at the mode it runs in. Without that, training runs what evaluation runs.

Torch's own layers look, too, but what they do then (dropout, statistics of the batch) passes units on as before.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from sapwood.shrinking.tracing.lines import of_torch


@contextmanager
def seeing_the_mode_read() -> Iterator[list[str]]:
    """While open, the lines of code outside of torch that read a module's `training`."""
    read: list[str] = []

    def mode(module: nn.Module) -> bool:
        caller = sys._getframe(1)
        if not of_torch(caller.f_code.co_filename):
            read.append(f"{caller.f_code.co_filename}:{caller.f_lineno}")
        try:
            return bool(vars(module)["training"])
        except KeyError:
            raise AttributeError("training") from None

    def set_mode(module: nn.Module, value: bool) -> None:
        vars(module)["training"] = value

    nn.Module.training = property(mode, set_mode)  # type: ignore[assignment]  # what modules hold is as it was
    try:
        yield read
    finally:
        del nn.Module.training
