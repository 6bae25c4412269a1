"""Site: units of a network that live and die together, and every place that must change when they go."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sapwood.shrinking.rules.ids import Ties
from sapwood.shrinking.rules.strides import thin, varied
from sapwood.shrinking.tracing.computed import owner
from sapwood.shrinking.tracing.graph import Traced

T = TypeVar("T")
Numbers = npt.NDArray[Any]
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
    why, root = ties.why(), ties.roots()
    makers = sorted((block for block in blocks if block.made), key=lambda block: (block.made, block.tensor))
    made = torch.cat([torch.empty(0, dtype=torch.int64), *(block.ids for block in makers)])
    made = root[made[why[made] == 0]]
    alike = _alike(blocks, root, made)
    several = [(places, roots) for places, roots in alike if len(roots) > 1]
    seated = _Seated(ties, root, [roots for _, roots in several])
    sites = [_site(seated, number, [blocks[n] for n in places]) for number, (places, _) in enumerate(several)]
    alone = torch.zeros_like(root, dtype=torch.bool)
    alone[[int(roots[0]) for _, roots in alike if len(roots) == 1]] = True
    return Couplings(tuple(sites), tuple(_pinned(found, makers, alone[root], why)))


def _alike(blocks: Sequence[_Block], root: Tensor, made: Tensor) -> list[tuple[list[int], Tensor]]:
    """(numbers of blocks, the roots that sit in these and no others), of the roots in `made`, in their order."""
    free = torch.zeros_like(root, dtype=torch.bool)
    free[made] = True
    which, number = _laid_out([root[block.ids] for block in blocks])
    here = free[which]
    seats = torch.unique(which[here] * len(blocks) + number[here])  # by root, then by block
    which, places = (part.numpy() for part in (seats // max(1, len(blocks)), seats % max(1, len(blocks))))
    roots, starts, counts = np.unique(which, return_index=True, return_counts=True)
    begins = _unlike_before(places, starts, counts)  # roots in a row mostly sit alike
    ends = starts + counts
    keys = [places[start:end].tobytes() for start, end in zip(starts[begins], ends[begins], strict=True)]
    number_of = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    classes = np.array([number_of[key] for key in keys], dtype=np.int64)[np.cumsum(begins) - 1]
    order = np.argsort(np.unique(made.numpy(), return_index=True)[1])  # as they are made
    _, first = np.unique(classes[order], return_index=True)
    known = list(number_of)
    return [
        (np.frombuffer(known[number], places.dtype).tolist(), torch.from_numpy(roots[order][classes[order] == number]))
        for number in classes[order][np.sort(first)].tolist()
    ]


def _unlike_before(places: Numbers, starts: Numbers, counts: Numbers) -> Numbers:
    """For each root whether the places where it sits are others than those of the root before it."""
    before = np.append(-1, counts[:-1]) != counts
    shifted = np.arange(len(places)) - np.repeat(counts, counts)
    alike = np.logical_and.reduceat(places == places[shifted.clip(min=0)], starts) if len(starts) else before
    return np.asarray(before | ~alike)


def _laid_out(parts: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """All numbers of several tensors one after another, and of which tensor each is."""
    sizes = torch.tensor([part.numel() for part in parts], dtype=torch.int64)
    whole = torch.cat([torch.empty(0, dtype=torch.int64), *(part.flatten() for part in parts)])
    return whole, torch.arange(len(parts)).repeat_interleave(sizes)


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


class _Seated:
    """Which unit of which site every id is, and what was noted beside ids, by site."""

    def __init__(self, ties: Ties, root: Tensor, roots: Sequence[Tensor]) -> None:
        self.ties, self.root, self.roots = ties, root, roots
        self.site, self.unit = torch.full((2, len(root)), -1)
        for number, which in enumerate(roots):
            self.site[which], self.unit[which] = number, torch.arange(len(which))
        self.mixed, self.lost = ties.mixed(), ties.lost()
        self.asked, self.summed, self.doubted = (self.by(n) for n in (ties.asks, ties.quiet.sums, ties.quiet.doubts))
        self.guessed = self.by([(ids, "") for ids in ties.guesses])
        views = [(view, dim) for view in ties.views for dim in varied(view.ids)]
        self.views = self.by([(_along(view.ids, dim), (view, dim)) for view, dim in views])

    def by(self, noted: Sequence[tuple[Tensor, T]]) -> list[list[T]]:
        """For each site what was noted beside ids of its units, in order."""
        ids, number = _laid_out([ids for ids, _ in noted])
        site = self.site[self.root[ids]]
        found: list[list[T]] = [[] for _ in self.roots]
        if noted:
            for pair in torch.unique(site[site >= 0] * len(noted) + number[site >= 0]).tolist():
                found[pair // len(noted)].append(noted[pair % len(noted)][1])
        return found

    def units(self, site: int, ids: Tensor) -> Tensor:
        """The units of a site, -1 where another one sits."""
        roots = self.root[ids]
        return torch.where(self.site[roots] == site, self.unit[roots], -1)

    def uses(self, site: int) -> Iterator[Use]:
        """Where views give the number of a site's units."""
        for view, dim in self.views[site]:
            units, calls = self.units(site, _along(view.ids, dim)), self.ties.calls[view.operator]
            yield Use(view.operator, view.call, calls, view.ids.shape, dim, units, view.inferred)


def _site(seated: _Seated, number: int, blocks: list[_Block]) -> Site:
    first = min((block for block in blocks if block.made), key=lambda block: (block.made, block.tensor))
    roots = seated.roots[number]
    return Site(
        module_of(first.tensor),
        len(roots),
        tuple(Slot(block.tensor, block.dim, seated.units(number, block.ids), block.role) for block in blocks),
        ~seated.mixed[roots],
        asked=tuple(dict.fromkeys(seated.asked[number])),
        summed=tuple(dict.fromkeys(seated.summed[number])),
        lossy=bool(seated.lost[roots].any()),
        doubted=bool(seated.doubted[number]),
        guessed=bool(seated.guessed[number]),
        uses=tuple(seated.uses(number)),
    )


def module_of(tensor: str) -> str:
    """The module to which a weight belongs; a parameter by itself keeps its name."""
    module = owner(tensor)
    return module if module and "weight" in tensor[len(module) :] else tensor


def told_apart(sites: Sequence[Site]) -> tuple[Site, ...]:
    """Sites of one module get numbers."""
    count, seen = Counter(site.name for site in sites), Counter[str]()
    found = []
    for site in sites:
        seen[site.name] += 1
        alone = count[site.name] == 1
        found.append(site if alone else replace(site, name=f"{site.name}#{seen[site.name]}"))
    return tuple(found)


def _pinned(found: Traced, makers: list[_Block], alone: Tensor, why: Tensor) -> Iterator[Pinned]:
    ties, tied = found.ties, found.ties.tied()
    for block in makers:
        for number, count in enumerate(torch.bincount(why[block.ids]).tolist()):
            if number and count:
                yield Pinned(module_of(block.tensor), count, ties.reasons[number])
        last = Counter(ties.operators[number] for number in tied[block.ids[alone[block.ids]]].tolist())
        for operator, count in last.items():
            after = f" after {operator}" if operator else ""
            yield Pinned(
                module_of(block.tensor), count, f"nothing else sits where it does{after}, and one unit must stay"
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
