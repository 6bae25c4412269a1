"""Values: what stands for tensors while a graph runs on ids: an id tensor for an activation, several for a weight."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

# ids of numbers that belong to no unit: the same everywhere, written in the code, or made from the network's inputs
BLANK, CONSTANT, DATA = 0, 1, 2


@dataclass(frozen=True)
class Weight:
    """A parameter or buffer: its numbers belong to a unit of each dimension, so it has an id tensor for each.

    What is computed from parameters alone is one as well, without a name of its own.
    """

    name: str
    layers: tuple[Tensor, ...]

    @property
    def shape(self) -> torch.Size:
        """The tensor's shape."""
        return self.layers[0].shape if self.layers else torch.Size()


Value = Tensor | Weight


class View(NamedTuple):
    """A view that gave ids of units."""

    operator: str
    call: int  # which of its calls
    ids: Tensor
    inferred: bool  # a size is worked out from the others


class Known(NamedTuple):
    """Ties of an earlier run, and the number of the operator that last tied each id."""

    root: Tensor
    tied: Tensor


def nobody(shape: torch.Size | tuple[int, ...], which: int = DATA) -> Tensor:
    """Ids of numbers that belong to no unit."""
    return torch.full((), which).expand(shape)


def walk(value: object) -> Iterator[Value]:
    """The ids in an argument: itself, or those in its list."""
    if isinstance(value, (Tensor, Weight)):  # a union of types takes twice as long
        yield value
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from walk(part)
