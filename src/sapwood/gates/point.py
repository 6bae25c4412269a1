"""Point: a place where a site's units are multiplied by what their gate lets through; found by `shrinking.scaling`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Side = Literal["outputs", "inputs"]


@dataclass(frozen=True, eq=False)
class Point:
    """One dimension of one parameter: scaled along it, units are scaled in what a layer gives, or in what it reads.

    A layer's weight and its bias are two points. unit_of[p] is the unit at position p, or -1 where none of the site's
    sits. `layer` and `axis` say where the same units lie in what the layer is given or gives; `layer` is None where
    no layer of torch's does so, as with a parameter that the model's own code multiplies with.
    """

    tensor: str  # the parameter's name; of several names of one tensor, its first
    dim: int
    unit_of: Tensor  # int64 [size of dim]
    layer: str | None = None
    side: Side = "outputs"
    axis: int = 1


Points = Mapping[str, tuple[Point, ...]]  # {site: everywhere its units are scaled}


def factors(points: Points, values: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """{parameter: what it is multiplied by, of its number of dimensions}, from {site: value of each unit [U]}."""
    found = dict[str, Tensor]()
    for name, value in values.items():
        for point in points[name]:
            tensor = tensors[point.tensor]
            factor = at_positions(value.to(tensor), point.unit_of)
            factor = factor.view([-1 if dim == point.dim else 1 for dim in range(tensor.dim())])
            found[point.tensor] = found[point.tensor] * factor if point.tensor in found else factor
    return found


def at_positions(value: Tensor, unit_of: Tensor) -> Tensor:
    """[..., positions]: the value of the unit at each position, of [..., U]; 1 where none sits."""
    one = value.new_ones(()).expand(*value.shape[:-1], 1)
    places = unit_of.to(value.device)
    return torch.cat([value, one], -1)[..., torch.where(places < 0, value.shape[-1], places)]


@torch.no_grad()
def scale_(tensors: Mapping[str, Tensor], points: Points, values: Mapping[str, Tensor]) -> None:
    """Multiply a network's tensors by the values of its units for good, in place."""
    for name, factor in factors(points, values, tensors).items():
        tensors[name].data.mul_(factor)


def layers_of(points: Sequence[Point]) -> dict[tuple[str, Side], Point]:
    """The layers whose outputs or inputs are to be multiplied, each with one of its points."""
    return {(point.layer, point.side): point for point in points if point.layer is not None}
