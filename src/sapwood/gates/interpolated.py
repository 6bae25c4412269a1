"""Interpolated: a gated network that tries two widths of a site in one pass, brought to one by interpolation.

    y = Σ w_j I(norm_j(first C_j channels), largest C_j),  and zeros behind it, up to the channels that are expected

I is adaptive average pooling along the channels: number i of C' is the mean of numbers floor(i C / C') to
ceil((i + 1) C / C') - 1 of C. Every width of a batch norm has its own scales, shifts and statistics.

Paper: Dong & Yang, "Network pruning via transformable architecture search", NeurIPS 2019, arXiv:1905.09717.
Differs: layers that give one stream share their width, where the authors' code adds up the channels that both have.
"""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from sapwood.gates.gated import Gated
from sapwood.gates.point import Point, Points, layers_of
from sapwood.gates.unit_gate import UnitGate
from sapwood.gates.width_choice import WidthChoice


class Interpolated(Gated):
    """As `Gated`, but the units of a `WidthChoice` are interpolated, where layers of torch's give them in their order.

    `widths` are the sites for which that is so. `norms` are {layer, its dots written as slashes: one norm for each
    size}; they begin as the network's own, which rests. Baked, the network has those of the sizes that are preferred.
    """

    def __init__(
        self,
        model: nn.Module,
        gates: Mapping[str, UnitGate],
        points: Points,
        extra: Mapping[str, nn.Parameter] | None = None,
    ) -> None:
        super().__init__(model, gates, points, extra)
        self.widths = tuple(name for name, gate in self.by_site().items() if _in_a_row(gate, self.points[name]))
        self.norms = nn.ModuleDict()
        for name, layer in self._layers():
            norm = model.get_submodule(layer)
            if isinstance(norm, _BatchNorm):
                sizes = self.choice(name).sizes
                self.norms[layer.replace(".", "/")] = nn.ModuleList(_narrowed(norm, size) for size in sizes)

    def choice(self, name: str) -> WidthChoice:
        """The gate of a site in `widths`."""
        gate = self.by_site()[name]
        assert isinstance(gate, WidthChoice)
        return gate

    def _layers(self) -> Iterator[tuple[str, str]]:
        return ((name, layer) for name in self.widths for layer, _ in layers_of(self.points[name]))

    def _apart(self) -> list[str]:
        return [*super()._apart(), *self.widths]

    def _hooks(self, name: str) -> Iterator[torch.utils.hooks.RemovableHandle]:
        if name not in self.widths:
            yield from super()._hooks(name)
            return
        with self._same_draws(name):
            index, weights = self.choice(name).choose()
        for (layer, _), point in layers_of(self.points[name]).items():
            hook = partial(self._mixed, self.choice(name), index, weights, point)
            yield self.model.get_submodule(layer).register_forward_hook(hook)

    def _mixed(
        self, gate: WidthChoice, index: list[int], weights: Tensor, point: Point,
        layer: nn.Module, inputs: tuple[Any, ...], y: Tensor,
    ) -> Tensor:  # fmt: skip
        """What a layer gives, in place of y: the mean of a few widths, by weights."""
        axis, sizes = point.axis % y.dim(), [gate.sizes[number] for number in index]
        own = self._own(str(point.layer))
        parts = [y.narrow(axis, 0, size) for size in sizes]
        if own is not None:
            parts = [own[n](inputs[0].narrow(axis, 0, size)) for n, size in zip(index, sizes, strict=True)]
        mixed = sum(w * interpolated(part, max(sizes), axis) for w, part in zip(weights.to(y), parts, strict=True))
        return F.pad(mixed, [0, 0] * (y.dim() - 1 - axis) + [0, gate.units - max(sizes)])

    def _own(self, layer: str) -> nn.ModuleList | None:
        key = layer.replace(".", "/")
        found = dict(self.norms.items()).get(key)
        assert found is None or isinstance(found, nn.ModuleList)
        return found

    @torch.no_grad()
    def _settled(self, model: nn.Module) -> nn.Module:
        """The preferred sizes' norms in place of the model's."""
        for name, layer in self._layers():
            own, held = self._own(layer), model.get_submodule(layer).state_dict()
            for which, value in {} if own is None else own[self.choice(name).preferred()].state_dict().items():
                (held[which][: len(value)] if value.dim() else held[which]).copy_(value)
        return model


def interpolated(x: Tensor, to: int, axis: int) -> Tensor:
    """Adaptive average pooling of x along `axis`, up to `to` positions; x itself where it has as many."""
    if x.shape[axis] == to:
        return x
    weights = _weights(x.shape[axis], to).to(x)
    if axis == x.dim() - 1:
        return x @ weights.T
    return (weights @ x.flatten(axis + 1)).reshape(*x.shape[:axis], to, *x.shape[axis + 1 :])


@cache
def _weights(size: int, to: int) -> Tensor:
    """What each of `to` positions is a mean of, float64 [to, size]."""
    first, at = torch.arange(to)[:, None], torch.arange(size)
    inside = (at >= first * size // to) & (at < -((first + 1) * size // -to))
    return inside.double() / inside.sum(1, keepdim=True)


def _in_a_row(gate: UnitGate, places: tuple[Point, ...]) -> bool:
    """Whether layers give a choice's units in their order, and nothing else."""
    row = torch.arange(gate.units)
    given = all(p.layer is not None and p.side == "outputs" and torch.equal(p.unit_of, row) for p in places)
    return isinstance(gate, WidthChoice) and given


def _narrowed(norm: _BatchNorm, size: int) -> _BatchNorm:
    """A norm of the first channels only."""
    own = deepcopy(norm)
    own.num_features = size
    for name, parameter in norm.named_parameters():
        setattr(own, name, nn.Parameter(parameter.detach()[:size].clone()))
    for name, value in norm.named_buffers():
        setattr(own, name, value[:size].clone() if value.dim() else value.clone())
    return own
