"""Structures: what one factor can scale - residual branches, groups of convolutions, channels - and where it does so.

All of a structure's numbers are multiplied where it is made last: behind the last norm of a branch, so that no norm
cancels the factor. With a factor of 0 there it is the network without the structure.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, fx, nn

from sapwood.errors import InputError, refuse_unless
from sapwood.gates.point import Point, Points
from sapwood.selection.select import Keep
from sapwood.shrinking.depth import branches, remove_branches
from sapwood.shrinking.finding import sites as sites_of
from sapwood.shrinking.scaling import NORMS, points
from sapwood.shrinking.summands import KEPT_ZERO, Flow, Summand, summands
from sapwood.shrinking.tracing.anatomy import Anatomy
from sapwood.shrinking.tracing.graph import op_of
from sapwood.shrinking.tracing.site import Site, Slot

KINDS = ("blocks", "groups", "channels")
SCALED = ("linear", "conv1d", "conv2d", "conv3d", "convolution", "mul", *NORMS)  # by all of their parameters
GROUPED = nn.Conv1d | nn.Conv2d | nn.Conv3d


class Structures(NamedTuple):
    """All structures of one kind in a network."""

    units: dict[str, int]  # how many factors: 1 for a branch, one for each group or channel of a site
    places: Points  # what they scale
    sites: tuple[Site, ...]  # none of blocks


def structures(kind: str, anatomy: Anatomy) -> Structures:
    """The blocks, groups or channels of a network that can have factors; InputError if it has none.

    Blocks are branches beside a shortcut, which may take a new shape. Channels that several layers make, as those of a
    residual stream, have none.
    """
    refuse_unless("kind", kind, KINDS)
    if kind == "blocks":
        places, found = dict(_blocks(anatomy)), tuple[Site, ...]()
    else:
        single = [site for site in sites_of(anatomy) if len(list(site.at("makes"))) == 1]
        found = tuple(_groups(anatomy.model, single) if kind == "groups" else single)
        places = dict(points(anatomy, found)) if found else {}
    if not places:
        raise InputError(f"{type(anatomy.model).__name__} has no {kind} that can have factors; give other structures "
                         f"of {', '.join(KINDS)}, or another network")  # fmt: skip
    return Structures(dict.fromkeys(places, 1) | {site.name: site.units for site in found}, places, found)


def stages(anatomy: Anatomy) -> dict[str, dict[str, tuple[Point, ...]]]:
    """{first block of a stage: {block: what scales it last}}: blocks in a row that give the same shape, two or more.

    All but the first keep the shape that they read, so that the last ones can go: a stage is as deep as its blocks.
    """
    places, runs = dict(_blocks(anatomy)), list[list[Summand]]()
    for each in (each for each in summands(anatomy.graph) if each.branch.name in places):
        if not runs or not _steady(each) or each.node.meta["val"].shape != runs[-1][-1].node.meta["val"].shape:
            runs.append([])
        runs[-1].append(each)
    names = ([each.branch.name for each in run] for run in runs if len(run) > 1)
    return {blocks[0]: {block: places[block] for block in blocks} for blocks in names}


def spared(keep: Mapping[str, Tensor]) -> Keep:
    """The same, and the first unit of each site that would lose all: without it nothing would pass any more."""
    return {name: kept if bool(kept.any()) else torch.arange(len(kept)) == 0 for name, kept in keep.items()}


def _blocks(anatomy: Anatomy) -> Iterator[tuple[str, tuple[Point, ...]]]:
    """Of two branches that are added up the one of more operators is the block, the other one its shortcut."""
    graph, flow, known = anatomy.graph, Flow(anatomy.graph), {each.name for each in branches(anatomy)}
    added = list(summands(graph))
    size = {each.branch.name: len(flow.only_for([each.node])) for each in added}
    sums = {each.branch.name: flow.users[each.node] for each in added}
    for each in added:
        name, parameters = each.branch.name, _last(anatomy, flow, each.node)
        smaller = any(sums[name] == sums[other] and size[name] < size[other] for other in size)
        if name in known and parameters and not smaller and (_steady(each) or _can_go(anatomy, name)):
            yield name, tuple(Point(tensor, 0, torch.zeros(length, dtype=torch.int64)) for tensor, length in parameters)


def _last(anatomy: Anatomy, flow: Flow, node: fx.Node) -> list[tuple[str, int]]:
    """The parameters, with their lengths, by which what a branch gives is scaled last.

    None where nothing is known to scale all of it, or where that is used for something else too.
    """
    while True:
        held = {anatomy.graph.tensors[n.name]: n for n in node.all_input_nodes if n.name in anatomy.graph.tensors}
        found = [(name, len(p)) for name, p in anatomy.model.named_parameters() if name in held and p.dim()]
        if found:
            return found if op_of(node) in SCALED and all(len(n.users) == 1 for n in held.values()) else []
        if op_of(node) not in KEPT_ZERO or len(flow.reads.get(node, ())) != 1:
            return []
        (node,) = flow.reads[node]


def _steady(summand: Summand) -> bool:
    """Whether a branch keeps the shape of what it reads."""
    return summand.node.meta["val"].shape in [node.meta["val"].shape for node in summand.fed]


def _can_go(anatomy: Anatomy, name: str) -> bool:
    """Whether the network computes something without it, as where a shortcut takes the new shape, too."""
    try:
        remove_branches(anatomy, [name], reshaping=True)
    except InputError:
        return False
    return True


def _groups(model: nn.Module, sites: Sequence[Site]) -> Iterator[Site]:
    """For each convolution in groups a site whose units are these: what one group reads, and what it makes."""
    for name, conv in model.named_modules():
        if isinstance(conv, GROUPED) and 1 < conv.groups < conv.in_channels:
            around = [site for site in sites if any(slot.tensor == f"{name}.weight" for slot in site.slots)]
            slots = [slot for site in around for slot in site.slots if (slot.tensor, slot.dim) != (f"{name}.weight", 1)]
            plain = len(around) == 2 and not any(site.lossy or site.asked for site in around)
            if plain and all(_in_groups(slot, conv.groups) for slot in slots):
                whole = tuple(replace(s, unit_of=torch.arange(n) // (n // conv.groups)) for s in slots
                              for n in [len(s.unit_of)])  # fmt: skip
                steady = torch.zeros(conv.groups, dtype=torch.bool)
                yield replace(around[1], name=name, units=conv.groups, slots=whole, steady=steady, uses=())


def _in_groups(slot: Slot, groups: int) -> bool:
    """Whether the same units follow one another in each group, and nothing else sits there."""
    size, rest = divmod(len(slot.unit_of), groups)
    return rest == 0 and torch.equal(slot.unit_of, torch.arange(size).repeat(groups))
