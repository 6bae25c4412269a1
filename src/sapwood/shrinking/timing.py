"""Timetable: measured seconds of every layer at some of its widths, and the cost in seconds that follows from it."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Size, Tensor, nn

from sapwood.called import checked
from sapwood.errors import InputError
from sapwood.measure.clock import latency
from sapwood.measure.example import Example, as_tuple, call
from sapwood.scoring.layers import every_layer
from sapwood.scoring.layout import Straight
from sapwood.scoring.untouched import untouched, watching
from sapwood.shrinking.cost import Cost, numbered
from sapwood.shrinking.tracing.graph import named_tensors
from sapwood.shrinking.tracing.site import Site
from sapwood.shrinking.widths import Numbering, Width, width

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class Times:
    """Seconds of one call of a layer: seconds[a, b] with makes[a] rows and reads[b] columns of its weight."""

    layer: str
    widths: tuple[Width, Width]  # of rows and of columns
    makes: Tensor  # float64 [A], rising; the last is the full width
    reads: Tensor  # float64 [B]
    seconds: Tensor  # float64 [A, B]


@dataclass(frozen=True)
class Timetable:
    """What the layers of a network take on one machine; `rest` is the time between them, taken as unchanging."""

    numbering: Numbering
    calls: tuple[Times, ...]
    rest: float


@checked()
def timetable(
    model: nn.Module,
    sites: Sequence[Site],
    example: Example,
    *,
    points: int = 4,
    threads: int = 1,
    rounds: int = 10,
    clock: Callable[[], float] = time.perf_counter,
) -> Timetable:
    """Time every Linear and Conv1d-3d alone at some widths, on inputs like the example.

    `points` widths in each dimension with units; medians of `rounds`. A wider layer never counts as faster than a
    narrower one: where noise says so, the larger time is taken, so that selection can rely on it. Layers of one kind,
    size and input are timed once. *Paper:* Yang et al. 2018 (NetAdapt, arXiv 1804.03230), whose tables hold layers too.
    *Differs:* between measured widths seconds are linear; the time outside of layers counts, as a constant, and so does
    a layer whose weight is computed from other parameters.
    """
    if points < 2:
        raise InputError(f"points is {points}; a table needs 2 or more widths of each layer")
    numbering, seen = numbered(model, sites), list[tuple[str, Size]]()
    layers = {n: m for n, m in every_layer(model).items() if isinstance(m, (nn.Linear, *CONVOLUTIONS))}
    with untouched(model), watching(layers, lambda name, x, y: seen.append((name, x.shape))):
        call(model, as_tuple(example))
    clocked: dict[str, Any] = {"threads": threads, "rounds": rounds, "clock": clock}
    first, known, calls = _first_names(model), dict[object, Tensor](), []
    for name, shape in seen:
        weight, of = layers[name].weight, first.get(id(layers[name].weight), name)
        rows, columns = (_axis(numbering, of, dim, weight.shape[dim], points) for dim in (0, 1))
        key = (str(layers[name]), shape, weight.dtype, len(rows[1]), len(columns[1]))
        if key not in known:
            with untouched():  # new layers are made of random numbers
                known[key] = _seconds(layers[name], shape, rows[1], columns[1], clocked)
        calls.append(Times(name, (rows[0], columns[0]), rows[1], columns[1], known[key]))
    whole = latency({"": model}, example, **clocked)[""].median
    return Timetable(numbering, tuple(calls), max(0.0, whole - sum(float(c.seconds[-1, -1]) for c in calls)))


@checked(table="what timetable(...) gives")
def latency_of(table: Timetable) -> Cost:
    """A function that estimates the seconds of one call, given what is kept; measure the shrunk network to be sure.

    Returns cost(keep), as `macs_of` does: the sum over layers of the table's seconds, linear between measured widths,
    plus the rest.
    """

    def cost(keep: Mapping[str, Tensor]) -> Tensor:
        open_U = table.numbering.open(keep)
        rest = torch.full(open_U.shape[:-1], table.rest, dtype=torch.float64)
        seconds = torch.stack([rest, *(_at(c, open_U.cpu()) for c in table.calls)]).sum(0)
        return seconds.to(open_U.device)

    return cost


def _first_names(model: nn.Module) -> dict[int, str]:
    """The name by which slots know a tensor: of several names of one tensor, its first."""
    first: dict[int, str] = {}
    for name, tensor in named_tensors(model):
        first.setdefault(id(tensor), name)
    return first


def _axis(numbering: Numbering, tensor: str, dim: int, size: int, points: int) -> tuple[Width, Tensor]:
    """A dimension's width, and the widths at which it is timed."""
    units = numbering.along(tensor, dim)
    if units is None:
        return width(torch.full((size, 1), numbering.always), numbering.always), torch.tensor([float(size)]).double()
    steps = sorted({max(1, math.ceil(size * step / (points - 1))) for step in range(points)})
    return width(units, numbering.always), torch.tensor(steps, dtype=torch.float64)


def _seconds(layer: nn.Linear | Straight, shape: Size, makes: Tensor, reads: Tensor, clocked: dict[str, Any]) -> Tensor:
    """[A, B]: medians of a layer at all pairs of widths, never less than at a smaller one."""
    found = torch.zeros(len(makes), len(reads), dtype=torch.float64)
    for a, rows in enumerate(makes.tolist()):
        for b, columns in enumerate(reads.tolist()):
            small, x = _narrow(layer, shape, int(rows), int(columns))
            found[a, b] = latency({"": small}, x, **clocked)[""].median
    return found.cummax(0).values.cummax(1).values


def _narrow(layer: nn.Linear | Straight, shape: Size, rows: int, columns: int) -> tuple[nn.Module, Tensor]:
    """A layer like this one with a weight of so many rows and columns, and an input for it."""
    like: dict[str, Any] = {"device": layer.weight.device, "dtype": layer.weight.dtype}
    if isinstance(layer, nn.Linear):
        return nn.Linear(columns, rows, layer.bias is not None, **like), torch.randn(*shape[:-1], columns, **like)
    each = layer.out_channels // layer.in_channels
    alone = layer.groups == layer.in_channels > 1  # every channel has filters of its own
    groups = max(1, rows // each) if alone else layer.groups
    rows = max(groups, rows - rows % groups)
    options = {name: getattr(layer, name) for name in ("stride", "padding", "dilation", "padding_mode")}
    make: Callable[..., nn.Module] = next(kind for kind in CONVOLUTIONS if isinstance(layer, kind))
    small = make(
        columns * groups, rows, layer.kernel_size, groups=groups, bias=layer.bias is not None, **options, **like
    )
    dim = len(shape) - len(layer.kernel_size) - 1
    return small, torch.randn(*shape[:dim], columns * groups, *shape[dim + 1 :], **like)


def _at(call: Times, open_U: Tensor) -> Tensor:
    """The table at the open widths, [...], linear in each of both."""
    rows, columns = (each.of(open_U) for each in call.widths)
    return ((_weights(call.makes, rows) @ call.seconds) * _weights(call.reads, columns)).sum(-1)


def _weights(points: Tensor, at: Tensor) -> Tensor:
    """[..., points]: how much every point counts for a value between two; outside, the nearest counts alone."""
    if len(points) == 1:
        return torch.ones(*at.shape, 1, dtype=torch.float64)
    low = torch.searchsorted(points, at.detach().contiguous(), right=True).clamp(1, len(points) - 1) - 1
    share = ((at - points[low]) / (points[low + 1] - points[low])).clamp(0, 1)[..., None]
    ends = nn.functional.one_hot(torch.stack([low, low + 1], -1), len(points)).double()
    return (1 - share) * ends[..., 0, :] + share * ends[..., 1, :]
