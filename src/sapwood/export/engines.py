"""Engines: what runs a network where its time is the target."""

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import nn

from sapwood.errors import InputError, picked
from sapwood.export.onnx import content_of, running
from sapwood.extras import optional
from sapwood.measure.example import Example

Runs = Callable[..., Any]  # what is timed: called as the network is


class Engine(NamedTuple):
    """How an engine is called, what makes it of a network and an example, and whether it works in this thread alone."""

    name: str
    of: Callable[[nn.Module, Example, int], Runs]  # the number is that of threads
    here: bool = True  # so that with one thread the processor's time is its time, whoever else is busy


def _in_onnxruntime(model: nn.Module, example: Example, threads: int) -> Runs:
    with optional("engine='onnxruntime'"):
        return running(content_of(model, example), threads)


ENGINES = {
    "pytorch": Engine("PyTorch", lambda model, example, threads: model),
    "onnxruntime": Engine("ONNX Runtime", _in_onnxruntime),
}
Asked = str | Callable[[nn.Module, Example], Runs]


def engine_of(asked: Asked) -> Engine:
    """The engine of this name, or a function's: of a network and an example it makes what is called and timed."""
    if callable(asked):
        make = asked
        return Engine(
            getattr(asked, "__name__", "an engine"), lambda model, example, threads: make(model, example), False
        )
    if not isinstance(asked, str):
        raise InputError(f"engine is {asked!r}; give {' or '.join(map(repr, ENGINES))}, or a function")
    return picked("engine", asked, ENGINES)
