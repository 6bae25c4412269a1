"""Scaling: where the units of sites are scaled last, so that a gate of 0 there is the network without the unit.

That is the norm behind a layer, else the layer; on a residual stream the last of every branch, or the norms in front of
those that read it. Where a unit that is 0 there would not be 0 where it is read, as behind a sigmoid, the columns that
read it are scaled instead.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from sapwood.called import checked
from sapwood.errors import InputError
from sapwood.gates.point import Point, Points, Side, scale_
from sapwood.measure.example import Example
from sapwood.shrinking.cutting.equal import difference, inputs, most, raised_, zero_
from sapwood.shrinking.cutting.wide import Narrow, types_of
from sapwood.shrinking.finding import sites as sites_of
from sapwood.shrinking.rules.strides import thin
from sapwood.shrinking.rules.values import Weight, walk
from sapwood.shrinking.tracing.anatomy import Anatomy, anatomy_of
from sapwood.shrinking.tracing.computed import copied, normed, owner, twin
from sapwood.shrinking.tracing.graph import Graph, Traced, call_of, op_of
from sapwood.shrinking.tracing.site import Site, Slot

NORMS = ("batch_norm", "instance_norm", "group_norm", "layer_norm", "rms_norm")
SLOPED = ("prelu",)  # a parameter for each unit, which scales nothing where x is positive
SUMS = ("add", "sub", "where", "cat", "stack", "maximum", "minimum")
CURVED = ("silu", "gelu", "tanh", "relu", "elu", "mish")  # of two factors the other one is scaled
AXES: dict[
    type[nn.Module], int
] = {  # of what a layer of torch's gives and takes, the dimension along which its units lie
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d), 1),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.GroupNorm), 1),
    **dict.fromkeys((nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d), 1),
    **dict.fromkeys((nn.Linear, nn.Embedding, nn.LayerNorm, nn.RMSNorm), -1),
}

SIZES = ("out_features", "out_channels", "num_features", "num_channels", "embedding_dim")


@checked()
def points(model: nn.Module | Anatomy, sites: Sequence[Site] | None = None, example: Example | None = None) -> Points:
    """Where the units of each site are scaled last, {site: points}; what `Gated` needs.

    Give a model, its sites and an example, or an `Anatomy`, whose own sites count where none are given.

    Tried with numbers, as `shrink` does: with half of each site's units at 0 there, the network must compute what it
    computes without them. InputError names a site that has no such place, as where norms go over weights.
    """
    anatomy = anatomy_of(model, example)
    model, sites = anatomy.model, sites_of(anatomy) if sites is None else sites
    flow = _flow_of(anatomy, sites)
    tensors, last = dict(model.named_parameters()), {}
    for site in sites:
        made = _made(_Walk(flow, site), set(tensors) - {weight.v for weight in normed(model)})
        read = [slot for slot in site.slots if slot.role in ("reads", "both") and slot.tensor in tensors]
        everywhere = [slot for slot in site.slots if slot.tensor in tensors and site.summed]
        ways: tuple[tuple[Side, list[Slot]], ...] = (("outputs", made), ("inputs", read), ("outputs", everywhere))
        last[site.name] = [tuple(_point(model, s, side) for s in slots) for side, slots in ways if slots]
    chosen = {site.name: last[site.name][0] for site in sites if last[site.name]}
    if len(chosen) < len(sites) or _differs(model, sites, chosen, anatomy.example):
        chosen = {site.name: _exact(model, site, last[site.name], anatomy.example) for site in sites}
    return chosen


def _exact(model: nn.Module, site: Site, ways: Sequence[tuple[Point, ...]], example: Example) -> tuple[Point, ...]:
    for way in ways:
        if not _differs(model, [site], {site.name: way}, example):
            return way
    raise InputError(
        f"no gate of 0 would remove the units of site {site.name!r}: what makes them and what reads them have computed "
        "weights; put a plain layer or a norm behind what makes them, or leave this site without a gate"
    )


def _differs(model: nn.Module, sites: Sequence[Site], chosen: Points, example: Example) -> bool:
    """Whether the network with some units scaled by 0 is another than without them."""
    keep = {site.name: torch.arange(site.units) % 2 == 0 for site in sites}
    for dtype in types_of(model):
        whole = raised_(twin(model), dtype, None, stirs=True)
        scaled = copied(whole)
        scale_(dict(scaled.named_parameters()), chosen, {name: kept.double() for name, kept in keep.items()})
        try:
            seen = difference(zero_(whole, sites, keep), scaled, inputs(example, 1, dtype), dtype)
        except Narrow:
            continue
        return not seen <= most(dtype)
    raise InputError(f"{type(model).__name__} cannot be run in any type, so no point can be tried for this example")


def _made(way: "_Walk", parameters: set[str]) -> list[Slot]:
    """The slots that scale a site's units last; none where a unit might not be 0 where it is read."""
    ends = way.ends()
    if not all(map(way.flow.zero, ends)):
        return []
    slots = [slot for node in ends for slot in way.back(node)]
    known = [slot for slot in dict.fromkeys(slots) if slot is not None]  # each once
    return [slot for slot in known if slot.tensor in parameters] if None not in slots else []


@dataclass(frozen=True)
class _Flow:
    """A graph run on ids, and which of its activations and parameters have units of each site."""

    graph: Graph
    found: Traced
    carriers: dict[str, dict[fx.Node, None]]  # by site, in the order in which they run

    def zero(self, node: fx.Node) -> bool:
        """Whether an activation is 0 where all that makes and holds its unit is 0."""
        return self.found.ties.quiet.zero(self.found.values[node], otherwise=False)

    def flows(self, node: fx.Node) -> bool:
        """Whether an operator gives activations, not weights."""
        return not any(isinstance(value, Weight) for value in walk(self.found.values.get(node)))

    def names(self, node: fx.Node) -> set[str]:
        """The tensors from which a parameter is computed; its own name."""
        if node.op == "placeholder":
            return {self.graph.tensors[node.name]} if node.name in self.graph.tensors else set()
        return set() if self.flows(node) else {name for part in node.all_input_nodes for name in self.names(part)}


def _flow_of(anatomy: Anatomy, sites: Sequence[Site]) -> _Flow:
    """The units of a site go the same ways, so that its first one stands for all."""
    found = anatomy.flow
    ties, of_root = found.ties, dict[int, set[str]]()
    for site in sites:
        for slot in (slot for slot in site.slots if slot.tensor in found.weights):
            ids = thin(found.weights[slot.tensor].layers[slot.dim]).flatten()
            for root in ties.root(ids[slot.unit_of == 0]).tolist():
                of_root.setdefault(root, set()).add(site.name)
    known = torch.tensor(sorted(of_root), dtype=torch.int64)
    carriers: dict[str, dict[fx.Node, None]] = {site.name: {} for site in sites}
    for node, value in found.values.items():
        for ids in _ids(value):
            roots = torch.unique(ties.root(thin(ids)))
            for name in set[str]().union(*(of_root[root] for root in roots[torch.isin(roots, known)].tolist())):
                carriers[name][node] = None
    return _Flow(anatomy.graph, found, carriers)


class _Walk:
    """From those that read a site's units back to what scales them last."""

    def __init__(self, flow: _Flow, site: Site) -> None:
        self.flow, self.seen, self.carriers = flow, set[fx.Node](), flow.carriers[site.name]
        self.slots = [slot for slot in site.slots if slot.role != "reads"]
        self.reads = {slot.tensor for slot in site.slots if slot.role in ("reads", "both")}

    def ends(self) -> list[fx.Node]:
        """Activations with units of the site that some operator reads."""
        users = dict.fromkeys(user for node in self.carriers for user in node.users if _is_operator(user))
        ends = dict[fx.Node, None]()
        for user in users:
            reads = user in self.carriers and self.reads & {
                name for part in user.all_input_nodes if part in self.carriers for name in self.flow.names(part)
            }
            if reads or user not in self.carriers:
                ends |= dict.fromkeys(self._activations(user))
        return list(ends)

    def back(self, node: fx.Node) -> Iterator[Slot | None]:
        """The slots that scale last on the way to an activation; None where nothing could."""
        if node in self.seen or node not in self.carriers:
            return
        self.seen.add(node)
        op, weighed = op_of(node) if node.op == "call_function" else "", self._scaling(node)
        if not self.flow.flows(node):
            yield from self._at([node])
        elif op in NORMS or (weighed and op not in (*SLOPED, *SUMS)):
            yield from self._at(weighed)
        else:
            if weighed and op not in SLOPED:
                yield from self._at(weighed)
            for part in self._into(op, node):
                yield from self.back(part)

    def _activations(self, node: fx.Node) -> list[fx.Node]:
        return [part for part in node.all_input_nodes if part in self.carriers and self.flow.flows(part)]

    def _into(self, op: str, node: fx.Node) -> list[fx.Node]:
        """The activations to go on with: all; of two factors one."""
        into = self._activations(node)
        if op in ("mul", "div"):
            zero = filter(self.flow.zero, into)
            into = sorted(zero, key=lambda part: part.op == "call_function" and op_of(part) in CURVED)[:1]
        return into

    def _scaling(self, node: fx.Node) -> list[fx.Node]:
        """The parameters, or what is computed from them, that an operator scales or shifts the units by."""
        if node.op != "call_function" or not self.flow.flows(node):
            return []
        parts = [part for part in node.all_input_nodes if not self.flow.flows(part)]
        if op_of(node) in NORMS:
            given = call_of({n: n for n in node.all_input_nodes}, node).given
            parts = [part for part in parts if part in (given.get("weight"), given.get("bias"))]
        return [part for part in parts if self._slots(part)]

    def _at(self, parts: Sequence[fx.Node]) -> Iterator[Slot | None]:
        slots = [slot for part in parts for slot in self._slots(part)]
        yield from slots
        if not slots:
            yield None

    def _slots(self, part: fx.Node) -> list[Slot]:
        """Where a parameter makes or holds units; of a computed one what makes them, else what holds."""
        names = self.flow.names(part)
        here = [slot for slot in self.slots if slot.tensor in names]
        return [slot for slot in here if slot.role != "holds"] or here


def _is_operator(node: fx.Node) -> bool:
    return isinstance(node.target, torch._ops.OpOverload)


def _ids(value: object) -> Iterator[Tensor]:
    for part in walk(value):
        yield from part.layers if isinstance(part, Weight) else (part,)


def _point(model: nn.Module, slot: Slot, side: Side) -> Point:
    """A slot, and the layer of torch's whose units it scales, if there is one."""
    name = owner(slot.tensor)
    layer = model.get_submodule(name) if name else model
    axis = AXES.get(type(layer))
    sizes = SIZES if side == "outputs" else ("in_features", "in_channels")
    known = name and axis is not None and slot.tensor == f"{name}.{slot.tensor.rpartition('.')[2]}"
    fits = any(getattr(layer, size, None) == len(slot.unit_of) for size in sizes) or isinstance(
        layer, nn.LayerNorm | nn.RMSNorm
    )
    return Point(slot.tensor, slot.dim, slot.unit_of, name if known and fits else None, side, axis or 1)
