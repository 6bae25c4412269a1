"""Size: how large a network is - its parameters, the weights among them, and the multiply-adds of one sample."""

from collections.abc import Mapping
from math import prod
from typing import NamedTuple

from torch import nn

from sapwood.measure.example import Example
from sapwood.shrinking.cost import macs_of
from sapwood.shrinking.tracing.anatomy import Anatomy, anatomy_of

Shapes = Mapping[str, tuple[int, ...]]  # {parameter name: shape}; a shared parameter once


class Size(NamedTuple):
    """How large a network is."""

    parameters: int
    weights: int  # parameters of two or more dimensions: no biases, no scales of norms
    macs: int  # multiply-adds for one sample, see `macs_of`


def size(model: nn.Module | Anatomy, example: Example | None = None) -> Size:
    """How large `model` is; `example`, one sample, is what multiply-adds are counted by. Or an `Anatomy` of both."""
    anatomy = anatomy_of(model, example)
    shapes = shapes_of(anatomy.model)
    return Size(parameters_in(shapes), weights_in(shapes), int(macs_of(anatomy, ())({})))


def shapes_of(model: nn.Module) -> Shapes:
    """The shape of every parameter, by name."""
    return {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}


def parameters_in(shapes: Shapes) -> int:
    """How many numbers the parameters hold."""
    return sum(map(prod, shapes.values()))


def weights_in(shapes: Shapes) -> int:
    """The same of weight matrices and kernels alone."""
    return sum(prod(shape) for shape in shapes.values() if len(shape) > 1)
