"""Call: one operator of the exported graph, with ids in place of numbers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from sapwood.shrinking.rules.ids import Ties
from sapwood.shrinking.rules.positions import along
from sapwood.shrinking.rules.strides import thin, varied
from sapwood.shrinking.rules.values import Value, Weight, nobody, walk


@dataclass(frozen=True)
class Call:
    """An operator, its arguments by their names in its signature, and its outputs' shapes."""

    op: str  # "conv2d"
    where: str  # the line of the model's code
    run: Callable[..., Any] | None  # the operator itself; None where it is not one of torch's
    given: Mapping[str, Any]
    shapes: tuple[torch.Size, ...]

    def __getitem__(self, name: str) -> Any:
        return self.given[name]

    @property
    def shape(self) -> torch.Size:
        """The first output's shape."""
        return self.shapes[0]

    def parts(self) -> list[Value]:
        """All arguments that are tensors."""
        return self._parts

    @cached_property
    def _parts(self) -> list[Value]:
        return [part for value in self.given.values() for part in walk(value)]

    def because(self, text: str) -> str:
        """A reason that names this operator and its line."""
        return f"{self.full} {text} ({self.where})"

    @property
    def name(self) -> str:
        """The operator and its line."""
        return f"{self.full} ({self.where})"

    @property
    def full(self) -> str:
        """The operator with its library: "aten.add"."""
        return self.op if "." in self.op else f"aten.{self.op}"

    def plain(self, ties: Ties, value: Value) -> Tensor:
        """The ids of an activation. A parameter keeps those of its last varying dimension and has the others pinned."""
        if isinstance(value, Tensor):
            return value
        layers = [layer for layer in value.layers if varied(layer)]
        for layer in layers[:-1]:
            ties.pin(layer, self.because("uses a parameter as an activation"))
        return layers[-1] if layers else nobody(value.shape, which=0)

    def ids(self, ties: Ties, name: str = "input") -> Tensor:
        """An argument's ids as an activation's, thin."""
        return ties.now(self.plain(ties, self.given[name if name in self.given else "self"]))

    def hold(self, ties: Ties, rows: Tensor, *names: str) -> None:
        """The parameters given under these names hold one number for each of `rows`."""
        for name in names:
            value = self.given.get(name)
            if isinstance(value, Weight):
                held = along(ties, value, 0, self.because("reads a reshaped parameter"))
                ties.meet(rows, held, self.because(f"has a {name} that belongs to no unit"))
            elif isinstance(value, Tensor):
                ties.pin(rows, self.because(f"has a computed {name}"))

    def moved(self, value: Any) -> Any:
        """What the operator does to an id tensor in place of its one tensor argument."""
        assert self.run is not None
        return self.run(**{name: _instead(given, value) for name, given in self.given.items()})


def _instead(given: Any, value: Any) -> Any:
    if isinstance(given, Tensor | Weight):
        return value
    return [_instead(part, value) for part in given] if isinstance(given, list | tuple) else given


def pinned(ties: Ties, call: Call, text: str) -> Any:
    """Everything that comes in stays; what goes out belongs to no unit."""
    for part in call.parts():
        for ids in part.layers if isinstance(part, Weight) else (part,):
            ties.pin(ids, call.because(text))
    outputs = tuple(nobody(shape) for shape in call.shapes)
    return outputs if len(outputs) != 1 else outputs[0]


def channels(ids: Tensor, dim: int) -> Tensor:
    """[C, N]: ids with `dim` in front, thin."""
    front = ids.movedim(dim, 0)
    rest = thin(front[:1]).shape[1:]
    few = front[(slice(None), *(slice(0, size) for size in rest))]
    return few.reshape(len(ids.movedim(dim, 0)), -1)


def in_parts(ids: Tensor, dim: int, parts: int) -> Tensor:
    """`dim` split into `parts` equal ones: [.., parts, size / parts, ..]."""
    return ids.reshape(*ids.shape[:dim], parts, ids.shape[dim] // parts, *ids.shape[dim + 1 :])


def spread(ids_C: Tensor, dim: int, shape: torch.Size) -> Tensor:
    """Ids of channels at `dim`, the same everywhere else."""
    return ids_C.view([-1 if d == dim else 1 for d in range(len(shape))]).expand(shape)
