"""Site: units of a network that live and die together, and every place that must change when they go."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from sapwood.shrinking.rules.ids import Ties
from sapwood.shrinking.rules.strides import thin, varied
from sapwood.shrinking.tracing.computed import owner
from sapwood.shrinking.tracing.graph import Traced

Role = Literal["makes", "reads", "holds", "both"]


@dataclass(frozen=True, eq=False)
class Slot:
    """One dimension of one tensor on which a site's units sit.

    unit_of[p] is the unit at position p along `dim`, or -1 where another site (or nothing removable) sits. A flattened
    16x5x5 feature map gives a Linear a slot of 400 positions over 16 units. `role`: a contraction *makes* units here
    (rows of a Linear, columns of a transposed convolution) or *reads* them; biases, normalisations, depthwise filters
    *hold* numbers for each unit. *both*: it makes them and reads them, as where one matrix leads there and back.
    """

    tensor: str  # the parameter's or buffer's name; of several names of one tensor, its first
    dim: int
    unit_of: Tensor  # int64 [size of dim]
    role: Role


@dataclass(frozen=True, eq=False)
class Use:
    """One dimension of what a view gives, with units on it: their number must be right there in a smaller network too.

    A wrong one, as of heads, may run as well, and nothing behind it may show it.
    """

    operator: str  # "aten.view (net.py:12)"
    call: int  # which of its calls, of `calls`
    calls: int
    shape: torch.Size
    dim: int
    unit_of: Tensor  # int64 [size of dim], as for `Slot`
    inferred: bool  # a size is worked out from the others


@dataclass(frozen=True, eq=False)
class Site:
    """Units that can be removed one by one, and every place that must then change.

    A residual stream is one site with many slots; so is a depthwise chain.
    """

    name: str  # the module that first makes the units; "conv#2" where a module makes the units of several sites
    units: int
    slots: tuple[Slot, ...]
    steady: Tensor  # bool [units]: nothing but the unit's own incoming weights feeds it; without them it is constant
    asked: tuple[str, ...] = ()  # operators by whose sizes they pass: written into the code, or following the tensors?
    lossy: bool = False  # a norm goes over its units: those that stay compute something else without the others
    summed: tuple[str, ...] = ()  # operators that add them up, so that they count there without a weight
    doubted: bool = False  # what is left would run although it may compute something else: tried with numbers
    guessed: bool = False  # one of them works out a size by itself, so that a wrong one would run as well
    uses: tuple[Use, ...] = ()  # where views give their number

    def at(self, role: Role) -> Iterator[Slot]:
        """The slots of one role; what makes and reads has both."""
        roles = (role, "both") if role in ("makes", "reads") else (role,)
        return (slot for slot in self.slots if slot.role in roles)


@dataclass(frozen=True)
class Pinned:
    """Units that cannot be removed: how many of those a module makes, and which operator says so, where."""

    name: str
    units: int
    because: str


@dataclass(frozen=True)
class Couplings:
    """All that the analysis of a network found."""

    sites: tuple[Site, ...]
    pinned: tuple[Pinned, ...]


@dataclass(frozen=True)
class _Block:
    """The ids along one dimension of one tensor."""

    tensor: str
    dim: int
    ids: Tensor
    made: int
    read: bool

    @property
    def role(self) -> Role:
        if self.made and self.read:
            return "both"
        return "makes" if self.made else "reads" if self.read else "holds"


def grouped(found: Traced) -> Couplings:
    """Units with the same places form a site; what has a reason to stay is told apart."""
    ties, blocks = found.ties, _blocks(found)
    why = ties.why()
    makers = sorted((block for block in blocks if block.made), key=lambda block: (block.made, block.tensor))
    free = {root for block in makers for root in ties.root(block.ids)[why[block.ids] == 0].tolist()}
    at: dict[int, set[int]] = {root: set() for root in free}
    for number, block in enumerate(blocks):
        for root in free.intersection(ties.root(block.ids).tolist()):
            at[root].add(number)
    classes: dict[tuple[int, ...], list[int]] = {}
    for root in _in_order(ties.root(block.ids) for block in makers):
        if root in at:
            classes.setdefault(tuple(sorted(at[root])), []).append(root)
    several = {places: roots for places, roots in classes.items() if len(roots) > 1}
    mixed, lost = ties.mixed(), ties.lost()
    seen = _Seen(ties)
    sites = [_site(seen, mixed, lost, [blocks[n] for n in places], roots) for places, roots in several.items()]
    alone = {root for roots in classes.values() if len(roots) == 1 for root in roots}
    return Couplings(tuple(sites), tuple(_pinned(found, makers, alone, why)))


def _blocks(found: Traced) -> list[_Block]:
    return [
        _Block(name, dim, ids, found.ties.made(ids), found.ties.read(ids))
        for name, weight in found.weights.items()
        if weight.shape.numel() > 0
        for dim, layer in enumerate(weight.layers)
        for ids in [_along(layer, dim)]
    ]


def _along(ids: Tensor, dim: int) -> Tensor:
    """The first ids of all other dimensions, a view."""
    return ids.as_strided((ids.shape[dim],), (ids.stride(dim),))


def _in_order(ids: Iterator[Tensor]) -> list[int]:
    return list(dict.fromkeys(root for block in ids for root in block.tolist()))


class _Seen:
    """Units in what views give."""

    def __init__(self, ties: Ties) -> None:
        self.ties, self.places = ties, list[tuple[str, int, torch.Size, int, Tensor, bool]]()
        self.at: dict[int, set[int]] = {}  # root -> numbers of places
        for operator, call, ids, inferred in ties.views:
            for dim in varied(ids):
                roots = ties.root(_along(ids, dim))
                for root in set(roots.tolist()):
                    self.at.setdefault(root, set()).add(len(self.places))
                self.places.append((operator, call, ids.shape, dim, roots, inferred))

    def uses(self, unit: Tensor, roots: list[int]) -> Iterator[Use]:
        """Of one site, whose `unit` each root is."""
        for number in sorted(set[int]().union(*(self.at.get(root, ()) for root in roots))):
            operator, call, shape, dim, at, inferred = self.places[number]
            yield Use(operator, call, self.ties.calls[operator], shape, dim, _unit_of(unit, at), inferred)


def _unit_of(unit: Tensor, roots: Tensor) -> Tensor:
    return torch.where(roots < len(unit), unit[roots.clamp(max=len(unit) - 1)], -1)


def _site(seen: _Seen, mixed: Tensor, lost: Tensor, blocks: list[_Block], roots: list[int]) -> Site:
    ties = seen.ties
    unit = torch.full((int(max(roots)) + 1,), -1)
    unit[roots] = torch.arange(len(roots))
    slots = []
    for block in blocks:
        slots.append(Slot(block.tensor, block.dim, _unit_of(unit, ties.root(block.ids)), block.role))
    first = min((block for block in blocks if block.made), key=lambda block: (block.made, block.tensor))
    which = torch.tensor(roots)
    return Site(
        module_of(first.tensor),
        len(roots),
        tuple(slots),
        ~mixed[which],
        asked=ties.asked(which),
        summed=ties.by(ties.quiet.sums, which),
        lossy=bool(lost[which].any()),
        doubted=bool(ties.by(ties.quiet.doubts, which)),
        guessed=ties.guessed(which),
        uses=tuple(seen.uses(unit, roots)),
    )


def module_of(tensor: str) -> str:
    """The module to which a weight belongs; a parameter by itself keeps its name."""
    module = owner(tensor)
    return module if module and "weight" in tensor[len(module) :] else tensor


def told_apart(sites: Sequence[Site]) -> tuple[Site, ...]:
    """Sites of one module get numbers."""
    names = [site.name for site in sites]
    return tuple(
        site if names.count(site.name) == 1 else replace(site, name=f"{site.name}#{names[: n + 1].count(site.name)}")
        for n, site in enumerate(sites)
    )


def _pinned(found: Traced, makers: list[_Block], alone: set[int], why: Tensor) -> Iterator[Pinned]:
    ties = found.ties
    for block in makers:
        for number, count in zip(
            *(part.tolist() for part in torch.unique(why[block.ids], return_counts=True)), strict=True
        ):
            if number:
                yield Pinned(module_of(block.tensor), count, ties.reasons[number])
        lone = [root for root in ties.root(block.ids).tolist() if root in alone]
        for operator, count in Counter(ties.tied_by(torch.tensor(lone, dtype=torch.int64))).items():
            tied = f" after {operator}" if operator else ""
            yield Pinned(
                module_of(block.tensor), count, f"nothing else sits where it does{tied}, and one unit must stay"
            )
    yield from _never_reached(found, {block.tensor for block in makers}, why)


def _never_reached(found: Traced, made: set[str], why: Tensor) -> Iterator[Pinned]:
    """Weights that no rule knows as such, those that nothing reads, and those of one unit."""
    for name, weight in found.weights.items():
        if name not in made and len(weight.shape) > 1 and weight.shape.numel() > 0:
            ids = thin(weight.layers[0]).flatten()
            numbers = why[ids]
            if bool(numbers.all()):
                yield Pinned(module_of(name), len(numbers), found.ties.reasons[int(numbers[0])])
            elif name not in found.used:
                when = "in training or evaluation" if found.ties.training else "in evaluation mode"
                yield Pinned(module_of(name), len(ids), f"nothing uses it for this example {when}")
            elif weight.shape[0] == 1 and module_of(name) != name:
                yield Pinned(module_of(name), 1, "it makes one unit, and one unit must stay")
