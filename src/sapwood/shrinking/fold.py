"""Fold: units without incoming weights send a constant, which goes into the biases of those that read it.

What a silent unit sends is measured: one run of the graph gives its value behind any activation, pooling or
normalisation. It may go where all its readers can take the constant exactly.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from sapwood.scoring.untouched import untouched
from sapwood.shrinking.cutting.cut import Keep, leaving
from sapwood.shrinking.cutting.equal import inputs, raised_
from sapwood.shrinking.cutting.lent import Lent, lending
from sapwood.shrinking.cutting.wide import Wide, running_in
from sapwood.shrinking.tracing.anatomy import Anatomy
from sapwood.shrinking.tracing.computed import owner, twin
from sapwood.shrinking.tracing.graph import Graph, line, named, named_tensors, op_of
from sapwood.shrinking.tracing.site import Site, Slot

LAST = "one unit of a site must stay"


@dataclass(frozen=True)
class Staying:
    """A unit that was to go and could not."""

    site: str
    unit: int
    because: str


@dataclass(frozen=True)
class _Reader:
    """An operator that multiplies what it reads with a weight; x_I is what it read, if that was constant."""

    where: str
    bias: str | None
    blocked: str  # why it cannot take constants other than 0
    x_I: Tensor
    constant_I: Tensor

    def agreeing(self, other: "_Reader") -> "_Reader":
        """The same operator, seen in another run."""
        both = self.constant_I & other.constant_I & (self.x_I == other.x_I)
        return _Reader(self.where, self.bias, self.blocked, self.x_I, both)


def silent(model: nn.Module, site: Site) -> Tensor:
    """Which units have no incoming weights other than 0, and so send a constant, [units]."""
    tensors, makers = dict(named_tensors(model)), list(site.at("makes"))
    if site.summed:  # who reads it has no bias to take a constant, and needs none where it is 0
        makers += site.at("holds")
    return site.steady & _all_zero(site, tensors, makers)


def unread(model: nn.Module, site: Site) -> Tensor:
    """Which units are multiplied by 0 wherever they are read, [units]; under a sum, those that are 0 themselves."""
    tensors = dict(named_tensors(model))
    nobody_reads = _all_zero(site, tensors, list(site.at("reads")))
    return nobody_reads & _all_zero(site, tensors, _sources(site)) if site.summed else nobody_reads


def _sources(site: Site) -> list[Slot]:
    """Where all must be 0 for a unit to be 0: not the statistics that a norm's scale of 0 makes irrelevant."""
    scaled = {owner(slot.tensor) for slot in site.slots if slot.tensor.endswith("weight") and slot.role == "holds"}
    statistics = [slot for slot in site.slots if "running_" in slot.tensor and owner(slot.tensor) in scaled]
    return [slot for slot in site.slots if slot.role != "reads" and slot not in statistics]


def _all_zero(site: Site, tensors: Mapping[str, Tensor], slots: Sequence[Slot]) -> Tensor:
    used = torch.zeros(site.units, dtype=torch.bool)
    for slot in slots:
        here = _used(tensors[slot.tensor], slot.dim) & (slot.unit_of >= 0)
        used[slot.unit_of[here]] = True
    return ~used


def _used(weight: Tensor, dim: int) -> Tensor:
    """Which positions along a dimension hold anything but 0."""
    return weight.detach().movedim(dim, -1).unsqueeze(0).flatten(0, -2).count_nonzero(0).cpu() > 0


def folding(
    anatomy: Anatomy, sites: Sequence[Site], keep: Keep
) -> tuple[dict[str, Tensor], dict[str, Tensor], tuple[Staying, ...]]:
    """What can be kept out exactly: the units kept, {bias: what is added to it}, and who stays though unwanted.

    Constants are measured in float64, on weights that are lent where they are large. The model is not changed.
    """
    model, readers = anatomy.model, _readers(anatomy)
    tensors, kept, staying = dict(named_tensors(model)), {}, []
    for site in (site for site in sites if site.name in keep):
        reasons = _reasons(model, site, tensors, readers)
        wanted = ~keep[site.name]
        stay = {u: reasons[u] for u in wanted.nonzero().flatten().tolist() if u in reasons}
        if bool(wanted.all()) and not stay:
            stay = {0: LAST}
        kept[site.name] = ~wanted
        kept[site.name][list(stay)] = True
        staying += [Staying(site.name, unit, because) for unit, because in stay.items()]
    return kept, _shifts(model, sites, kept, tensors, readers), tuple(staying)


def _reasons(
    model: nn.Module, site: Site, tensors: Mapping[str, Tensor], readers: Mapping[str, list[_Reader]]
) -> dict[int, str]:
    """{unit: why it cannot be folded}."""
    free, quiet = unread(model, site), silent(model, site)
    if site.summed:
        return {u: f"{site.summed[0]} adds it to others" for u in (~free).nonzero().flatten().tolist()}
    reasons = {u: "it has incoming weights and is read" for u in (~quiet & ~free).nonzero().flatten().tolist()}
    for slot in site.at("reads"):
        for mask, because in _obstacles(slot, tensors[slot.tensor], readers.get(slot.tensor, [])):
            for unit in slot.unit_of[mask & (slot.unit_of >= 0)].tolist():
                reasons.setdefault(unit, because)
    return {unit: because for unit, because in reasons.items() if not free[unit]}


def _obstacles(slot: Slot, weight: Tensor, readers: Sequence[_Reader]) -> Iterator[tuple[Tensor, str]]:
    read = _used(weight, slot.dim)
    if not readers:
        yield read, f"constants cannot be folded into what reads it with {slot.tensor}"
    for reader in readers:
        yield read & ~reader.constant_I, f"what it sends to {reader.where} is not the same everywhere"
        sends = read & (reader.x_I != 0)
        if reader.blocked:
            yield sends, f"its constant {reader.blocked} in {reader.where}"
        elif reader.bias is None:
            yield sends, f"{reader.where} has no bias to fold its constant into"
        elif sum(reader.bias == other.bias for other in readers) > 1:
            yield sends, f"{reader.where} runs several times with one bias"


def _shifts(
    model: nn.Module,
    sites: Sequence[Site],
    kept: Keep,
    tensors: Mapping[str, Tensor],
    readers: Mapping[str, list[_Reader]],
) -> dict[str, Tensor]:
    shifts: dict[str, Tensor] = {}
    for site in (site for site in sites if site.name in kept):
        for slot in site.at("reads"):
            gone = leaving(slot, kept[site.name])
            w_OI, seen = tensors[slot.tensor].detach(), readers.get(slot.tensor, [])
            gone &= _used(w_OI, slot.dim)
            if bool(gone.any()) and seen and seen[0].bias is not None and not seen[0].blocked:
                w_OI = w_OI[:, gone].to(torch.promote_types(w_OI.dtype, torch.float64))
                shift = (w_OI.flatten(2).sum(2) if w_OI.dim() > 2 else w_OI) @ seen[0].x_I[gone].to(w_OI)
                shifts[seen[0].bias] = shifts.get(seen[0].bias, 0) + shift
    return shifts


class _Watching(fx.Interpreter):
    """Runs a graph and notes what the readers of weights read."""

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph.module)
        self.tensors, self.found = graph.tensors, dict[fx.Node, tuple[str, _Reader]]()

    def run_node(self, n: fx.Node) -> Any:
        if n.op == "call_function" and op_of(n).startswith(("linear", "conv")):
            arguments = named(n, n.args, n.kwargs)
            weight, bias = (self.tensors.get(getattr(arguments.get(k), "name", "")) for k in ("weight", "bias"))
            if weight is not None and arguments.get("groups", 1) == 1:
                x = self.env[arguments["input"]].detach()
                dim = -1 if op_of(n) == "linear" else x.dim() - self.env[arguments["weight"]].dim() + 1
                x_NI = x.movedim(dim, -1).flatten(0, -2)
                same = (x_NI == x_NI[:1]).all(0) & (len(x_NI) > 0)  # rows that depend on data may be none
                known = _Reader(line(n), bias, _blocked(op_of(n), arguments), x_NI[:1].sum(0).cpu(), same.cpu())
                self.found[n] = weight, known
        return super().run_node(n)


def _blocked(op: str, arguments: Mapping[str, Any]) -> str:
    if op.startswith("conv_transpose"):
        return "reaches the border unevenly"
    padding = arguments.get("padding", 0)
    sides = padding if isinstance(padding, list) else [padding]
    return "meets zero padding" if any(side not in (0, "valid") for side in sides) else ""


def _readers(anatomy: Anatomy) -> dict[str, list[_Reader]]:
    """{weight: the operators that multiply with it}; constant is what was the same in all examples. Empty: unknown."""
    with suppress(Exception):  # code may run in the model but not in its graph, as in vmap
        return _by_weight(anatomy.graph, lending(anatomy.model, torch.float64, lambda lent: _seen(anatomy, lent)))
    return {}


def _seen(anatomy: Anatomy, lent: Lent | None) -> dict[fx.Node, tuple[str, _Reader]]:
    """{operator: the weight it multiplies with, what it read}, of a copy in float64 whose large weights are lent."""
    model, graph = raised_(twin(anatomy.model), torch.float64, lent), anatomy.graph
    held, seen = graph.holding(dict(named_tensors(model))), dict[fx.Node, tuple[str, _Reader]]()
    for example in inputs(anatomy.example):
        watching = _Watching(graph)
        with untouched(model), running_in(Wide(torch.float64, lent=lent)):
            watching.run(*replace(graph, held=held).placeholders(example))
        for node, (weight, reader) in watching.found.items():
            seen[node] = weight, seen[node][1].agreeing(reader) if node in seen else reader
    return seen


def _by_weight(graph: Graph, seen: Mapping[fx.Node, tuple[str, _Reader]]) -> dict[str, list[_Reader]]:
    found: dict[str, list[_Reader]] = {}
    for weight, reader in seen.values():
        found.setdefault(weight, []).append(reader)
    for node in (node for node in graph.module.graph.nodes if node.name in graph.tensors):
        if any(user not in seen and op_of(user) != "embedding" for user in node.users):
            found.pop(graph.tensors[node.name], None)  # it is read in another way as well, which takes no constants
    return found
