"""Gated: a network whose units pass through gates, all producers of one site through the same one."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from sapwood import processes
from sapwood.currency import Masks
from sapwood.errors import InputError, unknown
from sapwood.gates.point import Point, Points, at_positions, factors, layers_of, scale_
from sapwood.gates.unit_gate import UnitGate
from sapwood.gates.weight_gate import WeightGate, WeightGated
from sapwood.scoring.modes import evaluating


class Gated(nn.Module):
    """A network and a gate for each of some of its sites. The network itself is not changed.

    `points` says where units are scaled last, for at least these sites: `points(model, sites, example)`. What is not
    per sample scales the parameters there during a pass, which is the same as scaling the outputs; a gate that is per
    sample scales the outputs themselves. `extra` are parameters that are trained beside the gates, such as multipliers
    of a Lagrangian. Parameters are called model.NAME, gates.SITE.NAME, extra.NAME, the dots of SITE written as slashes.
    """

    def __new__(cls, model: Any = None, gates: Any = None, points: Any = None, extra: Any = None) -> Any:
        """The older `Gated`, of weight gates, under its new name; for one release."""
        if gates and points is None and all(isinstance(gate, WeightGate) for gate in gates.values()):
            warnings.warn("Gated(model, {layer: WeightGate}) is WeightGated now", DeprecationWarning, stacklevel=2)
            return WeightGated(model, gates)
        return super().__new__(cls)

    def __init__(
        self,
        model: nn.Module,
        gates: Mapping[str, UnitGate],
        points: Points,
        extra: Mapping[str, nn.Parameter] | None = None,
    ) -> None:
        super().__init__()
        processes.refuse_sharded(model, "put gates on it, and decide them,")
        for name, gate in gates.items():
            _refuse_misfit(model, name, gate, points)
        self.points: Points = {name: points[name] for name in gates}
        self.model = model
        self.gates = nn.ModuleDict({name.replace(".", "/"): gate for name, gate in gates.items()})
        self.extra = nn.ParameterDict(dict(extra or {}))
        self._seed: int | None = None  # of the draws that all passes share
        self._forced: Mapping[str, Tensor] = {}  # what passes take in place of draws

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """The network's outputs, with every unit multiplied by what its gate lets through in this pass."""
        apart = self._apart()
        values = {name: self._draw(name, None) for name in self.by_site() if name not in apart}
        tensors = dict(self.model.named_parameters())
        scaled = {name: tensors[name] * factor for name, factor in factors(self.points, values, tensors).items()}
        hooks = [hook for name in apart for hook in self._hooks(name)]
        try:
            return functional_call(self.model, scaled, inputs, named)
        finally:
            for hook in hooks:
                hook.remove()

    @contextmanager
    def drawn(self) -> Iterator[None]:
        """Inside, every pass makes the same draws, so that two losses or an attack see the same network."""
        self._seed = int(torch.randint(2**31, ()))
        try:
            yield
        finally:
            self._seed = None

    @contextmanager
    def forced(self, values: Mapping[str, Tensor]) -> Iterator[None]:
        """Inside, units are multiplied by these, {site: [U], per sample [B, U]}, not by what gates draw."""
        self._forced = dict(values)
        try:
            yield
        finally:
            self._forced = {}

    def bake(self) -> tuple[nn.Module, dict[str, Tensor]]:
        """A copy of the network with the values of evaluation multiplied into its weights, and what the gates keep.

        It gives what the gated network gives in evaluation mode; `keep`, {site: bool [units]}, is for `shrink`. A gate
        that is per sample has no such values: InputError.
        """
        with evaluating(self.gates), torch.no_grad():
            alone = [name for name, gate in self.by_site().items() if gate.per_sample]
            if alone:
                raise InputError(
                    f"the gate of site {alone[0]!r} is per sample, so no one network gives what the gated one gives; "
                    "bake without it, or keep the gated network; export.Skipping runs one of saliency gates without "
                    "computing what they close"
                )
            values = {name: gate.draw(None) for name, gate in self.by_site().items()}
        baked = self._settled(deepcopy(self.model, _computed(self.model)))
        scale_(dict(baked.named_parameters()), self.points, values)
        return baked, self.keep()

    def by_site(self) -> dict[str, UnitGate]:
        """{site: its gate}."""
        return dict(zip(self.points, map(_gate, self.gates.values()), strict=True))

    def open(self) -> dict[str, Tensor]:
        """{site: how far its units are open, [U] or [B, U]}: what costs read."""
        return {name: gate.open() for name, gate in self.by_site().items()}

    @torch.no_grad()
    def keep(self) -> dict[str, Tensor]:
        """{site: what its gate keeps now, bool [U]}."""
        return {name: gate.keep() for name, gate in self.by_site().items()}

    def penalty(self) -> Tensor:
        """The sum over all gates, a scalar."""
        return torch.stack([gate.penalty() for gate in self.by_site().values()]).sum()

    def masks(self) -> Masks:
        """{parameter of the network: bool}, False where a unit that now goes is scaled."""
        keep, tensors = self.keep(), dict(self.model.named_parameters())
        found = factors(self.points, {name: kept.double() for name, kept in keep.items()}, tensors)
        return {name: (factor != 0).expand_as(tensors[name]) for name, factor in found.items()}

    def _draw(self, name: str, x: Tensor | None) -> Tensor:
        if name in self._forced:
            return self._forced[name]
        with self._same_draws(name):
            return self.by_site()[name].draw(x)

    @contextmanager
    def _same_draws(self, name: str) -> Iterator[None]:
        """Inside, the gate of a site draws what it draws in every pass of `drawn`."""
        if self._seed is None:
            yield
            return
        gate = self.by_site()[name]
        with torch.random.fork_rng(devices=sorted({p.device.index for p in gate.parameters() if p.is_cuda})):
            torch.manual_seed(self._seed + list(self.points).index(name))
            yield

    def _apart(self) -> list[str]:
        """The sites whose units are not scaled by parameters but changed where layers give or read them."""
        return [name for name, gate in self.by_site().items() if gate.per_sample]

    def _settled(self, model: nn.Module) -> nn.Module:
        """A copy of the network, with what there is in its place while it is gated; here nothing."""
        return model

    def _hooks(self, name: str) -> Iterator[torch.utils.hooks.RemovableHandle]:
        """On the layers that make, scale or read a site's units: the first that is called draws."""
        seen, makes = list[Tensor](), name.partition("#")[0]
        gate = self.by_site()[name]

        def drawing(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
            if not seen and inputs:
                seen.append(self._draw(name, inputs[0]))

        def value(point: Point, y: Tensor) -> Tensor:
            if not seen:
                seen.append(self._draw(name, _means(point, y, gate.units)))
            return _aligned(seen[0], point, y)

        early = gate.sees == "inputs"
        for n, module in self.model.named_modules() if early else ():
            if n and n == makes:
                yield module.register_forward_pre_hook(drawing)
        for (layer, side), point in layers_of(self.points[name]).items():
            module = self.model.get_submodule(layer)
            if early:
                yield module.register_forward_pre_hook(drawing)
            if side == "outputs":
                yield module.register_forward_hook(partial(_outputs, partial(value, point)))
            else:
                yield module.register_forward_pre_hook(partial(_inputs, partial(value, point)))


def decided(model: nn.Module) -> Masks:
    """What a gated network's gates would keep now, by the names of its own parameters; nothing of any other network."""
    keep = model.keep() if isinstance(model, WeightGated) else model.masks() if isinstance(model, Gated) else {}
    return {f"model.{name}": kept for name, kept in keep.items()}


def _computed(model: nn.Module) -> dict[int, Any]:
    """For `deepcopy`: weights that modules have worked out and keep, as plain values; torch copies parameters only."""
    kept = (value for module in model.modules() for value in vars(module).values())
    return {id(value): value.detach().clone() for value in kept if isinstance(value, Tensor) and not value.is_leaf}


Values = Callable[[Tensor], Tensor]  # of an activation, of its number of dimensions


def _outputs(value: Values, layer: nn.Module, inputs: tuple[Any, ...], y: Tensor) -> Tensor:
    return y * value(y)


def _inputs(value: Values, layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return (inputs[0] * value(inputs[0]), *inputs[1:])


def _means(point: Point, y: Tensor, units: int) -> Tensor:
    """The mean of each unit over its positions in an activation, by sample, [B, units]."""
    y_BPR = y.movedim(point.axis % y.dim(), 1).flatten(2) if y.dim() > 2 else y[..., None]
    unit_of, place = point.unit_of.to(y.device), (point.unit_of >= 0).to(y.device)
    total = y_BPR.new_zeros(len(y), units).index_add(1, unit_of[place], y_BPR.mean(2)[:, place])
    return total / torch.bincount(unit_of[place], minlength=units).clamp(min=1)


def _aligned(value_BU: Tensor, point: Point, y: Tensor) -> Tensor:
    """The values of each sample at an activation's positions, of its number of dimensions."""
    if len(value_BU) != len(y):
        raise InputError(
            f"a gate that is per sample gives {len(value_BU)} rows, but layer {point.layer!r} sees {len(y)}; "
            "samples must be the first dimension there, and as many in all passes of `drawn`"
        )
    at = point.axis % y.dim()
    value = at_positions(value_BU, point.unit_of)
    return value.view([len(y) if dim == 0 else -1 if dim == at else 1 for dim in range(y.dim())]).to(y)


def _refuse_misfit(model: nn.Module, name: str, gate: UnitGate, points: Points) -> None:
    if name not in points:
        raise unknown("site", name, points)
    tensors = dict(model.named_parameters())
    units = 1 + max(int(point.unit_of.max()) for point in points[name])
    if not isinstance(gate, UnitGate):
        raise InputError(f"the gate of site {name!r} is {gate!r}; give a UnitGate for its {units} units")
    if gate.units != units:
        raise InputError(f"the gate of site {name!r} is for {gate.units} units, the site has {units}; give one for it")
    for point in points[name]:
        if point.tensor not in tensors or tensors[point.tensor].shape[point.dim] != len(point.unit_of):
            raise InputError(f"the points of site {name!r} are not of this network; find them anew")
        if gate.per_sample and point.layer is None:
            raise InputError(
                f"the units of site {name!r} are scaled at {point.tensor!r}, which is no layer of torch's, so a gate "
                "that is per sample has no outputs to multiply; make them by a layer, or give another gate"
            )


def _gate(module: nn.Module) -> UnitGate:
    assert isinstance(module, UnitGate)  # a ModuleDict does not say what it holds
    return module
