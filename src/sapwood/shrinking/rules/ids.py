"""Ids: every number in a network belongs to a unit, and a tensor of whole numbers of its shape says to which.

Each position of each parameter dimension has an id of its own; ties say which ids live and die together. An id tensor
is kept thin: a dimension along which nothing changes has stride 0, so an activation costs as much as its channels.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

CONSTANT, DATA = 0, 1  # ids of numbers that belong to no unit: written in the code, or made from the network's inputs


@dataclass(frozen=True)
class Weight:
    """A parameter or buffer: its numbers belong to a unit of each dimension, so it has an id tensor for each."""

    name: str
    layers: tuple[Tensor, ...]

    @property
    def shape(self) -> torch.Size:
        """The tensor's shape."""
        return self.layers[0].shape if self.layers else torch.Size()


Value = Tensor | Weight


class Ties:
    """Which ids live and die together, which of them cannot be removed and why, and what they are for.

    `known`: ties found by `after`, an earlier run over the same graph, that hold from the start. `heads=True`: look for
    heads only; what a grid or a product of activations demands is not tied or pinned then. `lossy=True`: units may go
    from under a norm that goes over all of them. `operator` is the one that ties now.
    """

    def __init__(
        self, known: Tensor | None = None, *, after: "Ties | None" = None, heads: bool = False, lossy: bool = False
    ) -> None:
        self._known, self._after, self.lossy = known, after, lossy
        self._makers = [""]  # the operator of every number in `_made`
        self.operator = ""
        self._operators: list[str] = [""] if after is None else after._operators
        self._tied = torch.zeros(2, dtype=torch.int64)  # number of the last operator that tied it to another; 0: none
        self._root = torch.arange(2)
        self._asks: list[tuple[Tensor, str]] = []
        self._guesses: list[Tensor] = []
        self.calls = Counter[str]()  # views seen so far, by operator and line
        self.views: list[tuple[str, int, Tensor, bool]] = []  # operator, which of its calls, ids it gave, inferred
        self._reason = torch.zeros(2, dtype=torch.int64)  # number of the reason why it stays, from 1; 0: may go
        self._made = torch.zeros(2, dtype=torch.int64)  # 0: not made by a contraction; else how early
        self._read = torch.zeros(2, dtype=torch.bool)
        self._lost = torch.zeros(2, dtype=torch.bool)  # a norm over all of them changes when they go
        self._mixed = torch.zeros(2, dtype=torch.bool)  # met other data without being tied to it
        self.looking, self.heads, self.unsure = heads, list[Tensor](), False
        self.reasons: list[str] = [""]
        self.pin(torch.tensor([CONSTANT, DATA]), "it belongs to no unit")

    def fresh(self, count: int) -> Tensor:
        """`count` new ids, tied to nothing."""
        start, more = len(self._root), torch.zeros(count, dtype=torch.int64)
        ids = torch.arange(start, start + count)
        self._root = torch.cat([self._root, ids if self._known is None else self._known[ids]])
        self._reason, self._made = torch.cat([self._reason, more]), torch.cat([self._made, more])
        self._tied = torch.cat([self._tied, more if self._after is None else self._after._tied[ids]])
        self._read, self._mixed, self._lost = (
            torch.cat([marks, more.bool()]) for marks in (self._read, self._mixed, self._lost)
        )
        return ids

    def now(self, ids: Tensor) -> Tensor:
        """The ids by what they are tied to by now, thin."""
        return steady(self._root[thin(ids)]).expand(ids.shape)

    def tie(self, a: Tensor, b: Tensor) -> None:
        """Ids at the same place (after broadcasting) live and die together from now on."""
        a, b = together(a, b)
        pairs = torch.stack([a.flatten(), b.flatten()])
        while True:
            low, high = self._root[pairs].aminmax(dim=0)
            open_ = low != high
            if not bool(open_.any()):
                return
            if bool((lost := open_ & (low <= DATA)).any()):
                self.pin(high[lost], f"{self.operator} ties it to numbers that belong to no unit")
            self._tied[high[open_]] = self._number()
            self._root.scatter_reduce_(0, high[open_], low[open_], "amin")
            self._flatten()

    def _number(self) -> int:
        if self._operators[-1] != self.operator:
            self._operators.append(self.operator)
        return len(self._operators) - 1

    def _flatten(self) -> None:
        while not torch.equal(further := self._root[self._root], self._root):
            self._root = further

    def tie_over(self, ids: Tensor, dim: int) -> Tensor:
        """All ids along `dim` live and die together; the ids after that."""
        self.tie(ids, ids.narrow(dim, 0, 1))
        return self.now(ids)

    def pin(self, ids: Tensor, because: str) -> None:
        """These cannot be removed; the first reason counts."""
        few = torch.unique(thin(ids))
        free = few[self._reason[few] == 0]
        if len(free):
            self._reason[free] = len(self.reasons)
            self.reasons.append(because)

    def meet(self, a: Tensor, b: Tensor, because: str) -> Tensor:
        """Tie aligned ids; what meets numbers that belong to no unit is pinned instead. The ids of the result."""
        a, b = together(a, b)
        nobody_a, nobody_b = a <= DATA, b <= DATA
        self.pin(a[nobody_b], because)
        self.pin(b[nobody_a], because)
        both = ~(nobody_a | nobody_b)
        self.tie(a[both], b[both])
        return self.now(torch.where(nobody_a & ~nobody_b, b, torch.where(nobody_b, torch.maximum(a, b), a)))

    def mark(self, *, makes: Tensor, reads: Tensor) -> None:
        """A contraction makes the units of some ids and reads those of others."""
        fresh = makes[self._made[makes] == 0]
        self._made[fresh] = len(self._makers)
        self._makers.append(self.operator)
        self._read[reads] = True

    def mix(self, ids: Tensor) -> None:
        """These numbers depend on other data than their unit's."""
        self._mixed[torch.unique(thin(ids))] = True

    def lose(self, ids: Tensor) -> None:
        """Without these, those that stay compute something else."""
        self._lost[torch.unique(thin(ids))] = True

    def ask(self, ids: Tensor, operator: str) -> None:
        """Whether these can go depends on sizes that may be written into the code at this operator."""
        self._asks.append((torch.unique(thin(ids)), operator))

    def guess(self, ids: Tensor) -> None:
        """An operator works out a size by itself, and could get another one than that of these units wrong."""
        self._guesses.append(torch.unique(thin(ids)))

    def view(self, operator: str, ids: Tensor | None = None, *, inferred: bool = False) -> None:
        """A view was met; where units lie in what it gives, their number is known. `inferred`: it works out a size."""
        if ids is not None and varied(ids):
            self.views.append((operator, self.calls[operator], ids, inferred))
        self.calls[operator] += 1

    def grid(self, ids: Tensor) -> Tensor:
        """What is left of this tensor must be a block again: along its last dimension whole columns go."""
        self.unsure = True
        if not self.looking:
            for dim in varied(ids)[:-1]:
                ids = self.tie_over(ids, dim)
        return ids

    def placed(self, left: Tensor, right: Tensor, shape: torch.Size) -> Tensor:
        """Two activations are multiplied matrix by matrix: what is in the matrices of one place is one head.

        New ids of the places, in the product's shape, tied to nothing yet; only those who look for heads need them.
        """
        self.unsure = True
        left, right = thin(left), thin(right)
        places = torch.broadcast_shapes(left.shape[:-2], right.shape[:-2])  # type: ignore[no-untyped-call]
        new = self.fresh(shape[:-2].numel()).view(shape[:-2])  # as many in every run, so that ids mean the same
        for dim, size in enumerate(places):
            new = new.narrow(dim, 0, size)
        if self.looking and places.numel() > 1:
            all_three = [x.expand(*places, *x.shape[-2:]).flatten(-2) for x in (left, right, new[..., None, None])]
            self.heads.append(torch.cat(all_three, -1).flatten(0, -2))
        return new[..., None, None].expand(shape)

    def known(self) -> Tensor:
        """The ties, for another run."""
        return self._root.clone()

    def known_with_heads(self) -> Tensor:
        """The ties, everything of a head tied, for another run."""
        for ids in self.heads:
            self.tie_over(ids, 1)
        return self._root

    def root(self, ids: Tensor) -> Tensor:
        """The id that stands for each id's unit."""
        return self._root[ids]

    def made(self, ids: Tensor) -> int:
        """How early these were made by a contraction; 0: never."""
        return int(self._made[ids].max()) if len(ids) else 0

    def read(self, ids: Tensor) -> bool:
        """Whether a contraction reads these."""
        return bool(self._read[ids].any())

    def why(self) -> Tensor:
        """For every id the number of a reason why its unit must stay, 0 where it may go."""
        return self._of_unit(self._reason)

    def asked(self, roots: Tensor) -> tuple[str, ...]:
        """The operators whose sizes decide whether these units can go."""
        found = (operator for ids, operator in self._asks if bool(torch.isin(self._root[ids], roots).any()))
        return tuple(dict.fromkeys(found))

    def guessed(self, roots: Tensor) -> bool:
        """Whether some operator's wrong size would go unnoticed without these units."""
        return any(bool(torch.isin(self._root[ids], roots).any()) for ids in self._guesses)

    def tied_by(self, roots: Tensor) -> list[str]:
        """For each unit the last operator that tied it to others, "" where none did."""
        return [self._operators[number] for number in self._of_unit(self._tied)[roots].tolist()]

    def made_by(self, ids: Tensor) -> str:
        """The last operator that made some of these."""
        return self._makers[self.made(ids)]

    def lost(self) -> Tensor:
        """For every id whether others change when its unit goes."""
        return self._of_unit(self._lost.long()).bool()

    def mixed(self) -> Tensor:
        """For every id whether its unit met other data."""
        return self._of_unit(self._mixed.long()).bool()

    def _of_unit(self, values: Tensor) -> Tensor:
        most = torch.zeros_like(values).scatter_reduce_(0, self._root, values, "amax")
        return most[self._root]


def thin(ids: Tensor) -> Tensor:
    """One of each along dimensions of stride 0."""
    for dim in range(ids.dim()):
        if ids.shape[dim] > 1 and ids.stride(dim) == 0:
            ids = ids.narrow(dim, 0, 1)
    return ids


def steady(ids: Tensor) -> Tensor:
    """The same ids, with stride 0 along every dimension where nothing changes."""
    few = thin(ids)
    for dim in range(few.dim()):
        if few.shape[dim] > 1 and bool((few == few.narrow(dim, 0, 1)).all()):
            few = few.narrow(dim, 0, 1)
    return few.expand(ids.shape)


def together(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Both broadcast to one shape, one of each along dimensions where neither changes."""
    a, b = torch.broadcast_tensors(a, b)  # type: ignore[no-untyped-call]
    for dim in range(a.dim()):
        if a.shape[dim] > 1 and a.stride(dim) == 0 and b.stride(dim) == 0:
            a, b = a.narrow(dim, 0, 1), b.narrow(dim, 0, 1)
    return a, b


def varied(ids: Tensor) -> list[int]:
    """The dimensions along which thin ids change."""
    return [dim for dim in range(ids.dim()) if ids.shape[dim] > 1 and ids.stride(dim) != 0]


def nobody(shape: torch.Size | tuple[int, ...], which: int = DATA) -> Tensor:
    """Ids of numbers that belong to no unit."""
    return torch.full((), which).expand(shape)


def weight_of(ties: Ties, name: str, shape: torch.Size) -> Weight:
    """A parameter with new ids for each of its dimensions."""
    places = [(dim, [-1 if d == dim else 1 for d in range(len(shape))]) for dim in range(len(shape))]
    return Weight(name, tuple(ties.fresh(shape[dim]).view(view).expand(shape) for dim, view in places))


def along(ties: Ties, weight: Weight, dim: int, because: str) -> Tensor:
    """The ids of a weight's positions along one of its dimensions, [size].

    A weight reshaped so that ids change along several dimensions at once cannot be sliced: it is pinned.
    """
    found = nobody((weight.shape[dim],))
    for layer in weight.layers:
        changes = varied(layer)
        if len(changes) > 1:
            ties.pin(layer, because)
        elif changes == [dim]:
            found = thin(layer).flatten()
    return found


def walk(value: object) -> Iterator[Value]:
    """The ids in an argument: itself, or those in its list."""
    if isinstance(value, Tensor | Weight):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from walk(part)
