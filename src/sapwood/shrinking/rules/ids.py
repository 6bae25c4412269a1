"""Ids: every number in a network belongs to a unit, and a tensor of whole numbers of its shape says to which.

Each position of each parameter dimension has an id of its own; ties say which ids live and die together. An id tensor
is kept thin: a dimension along which nothing changes has stride 0, so an activation costs as much as its channels.
"""

from collections import Counter

import torch
from torch import Tensor

from sapwood.shrinking.rules.anew import Anew
from sapwood.shrinking.rules.marks import Mark, Marks
from sapwood.shrinking.rules.quiet import Quiet
from sapwood.shrinking.rules.strides import broadcast, steady, thin, together, varied
from sapwood.shrinking.rules.union import Union
from sapwood.shrinking.rules.values import BLANK, DATA, Known, View

SUMMED = "a weight is computed by a sum over it: those that stay would be others"


class Ties:
    """Which ids live and die together, which of them cannot be removed and why, and what they are for.

    `known`: ties found by `after`, an earlier run over the same graph, that hold from the start. `heads=True`: only
    search for heads; `grid` and `placed` then tie and pin nothing. `lossy=True`: units may be removed from under a norm
    that goes over all of them. `operator` is the one that ties now.
    """

    def __init__(
        self, known: "Known | None" = None, *, after: "Ties | None" = None, heads: bool = False, lossy: bool = False
    ) -> None:
        self._after, self.lossy = after, lossy
        self.operator, self._contractions = "", 0  # how many have made units
        self.operators: list[str] = [""] if after is None else after.operators
        self._count = DATA + 1  # ids so far; what is kept of each has room for more
        self._union = Union()
        self._marks = Marks()
        self.asks: list[tuple[Tensor, str]] = []
        self.quiet = Quiet()
        self._current = dict[int, tuple[Tensor, int]]()  # what `now` gave, and after how many joins
        self.guesses: list[Tensor] = []
        self.calls = Counter[str]()  # views seen so far, by operator and line
        self.views: list[View] = []
        self._flows: list[tuple[Tensor, Tensor, bool]] = []
        self._unreadable = dict[int, str]()  # ids that must not be read as 0, and why
        if known is not None and after is not None:
            self._grow(len(known.root))
            self._restore(known)
        self.looking, self.heads, self.unsure = heads, list[Tensor](), False
        self.grids: list[tuple[Tensor, list[Tensor]]] = []  # ids of numbers that belong to units of several kinds
        self.training = False  # from now on operators run in training mode only
        self.reasons = [""]
        self.pin(torch.arange(DATA + 1), "it belongs to no unit")

    @property
    def searching(self) -> bool:
        """Whether only heads are looked for: another run will follow, so nothing else needs to be noted."""
        return self.looking and self.unsure

    def anew(self) -> "Ties":
        """For the same run from the start."""
        if self._after is not None:
            raise Anew("an earlier run has to be made again, too")
        return Ties(heads=self.looking, lossy=self.lossy)

    def fresh(self, count: int) -> Tensor:
        """`count` new ids, tied to nothing."""
        first, self._count = self._count, self._count + count
        if self._count > len(self._union):
            self._grow(max(self._count, 2 * len(self._union)))
        return torch.arange(first, self._count)

    def room(self, count: int) -> None:
        """Make room for so many ids at once, where it is known how many there will be about."""
        if count > len(self._union):
            self._grow(count)

    def _grow(self, size: int) -> None:
        self._union.grow(size)
        self._marks.grow(size)

    def _restore(self, known: "Known") -> None:
        self._union, self._current = Union(known.root), {}
        self._marks[Mark.TIED].copy_(known.tied)

    def now(self, ids: Tensor) -> Tensor:
        """Each id's current root, with stride 0 along constant dimensions."""
        found = ids.detach() if self._is_current(ids) else steady(self._union.find(thin(ids))).expand(ids.shape)
        self._current[id(found)] = found, self._union.joins
        return found

    def _is_current(self, ids: Tensor) -> bool:
        """Whether nothing was tied since `now` gave these."""
        return self._current.get(id(ids), (ids, -1))[1] == self._union.joins

    def tie(self, a: Tensor, b: Tensor) -> None:
        """Ids at the same place (after broadcasting) live and die together from now on."""
        a, b = together(a, b)
        pairs = torch.stack([a.flatten(), b.flatten()])
        while True:
            pairs = self._union.find(pairs)
            if torch.equal(*pairs):
                return
            low, high = pairs[:, pairs[0] != pairs[1]].aminmax(dim=0)
            if int(low.min()) <= DATA:
                self.pin(high[low <= DATA], f"{self.operator} ties it to numbers that belong to no unit")
            self._marks[Mark.TIED][high] = self._number()
            self._union.join(low, high)
            pairs = torch.stack([low, high])

    def _number(self) -> int:
        if self.operators[-1] != self.operator:
            self.operators.append(self.operator)
        return len(self.operators) - 1

    def tie_over(self, ids: Tensor, dim: int) -> Tensor:
        """All ids along `dim` live and die together; the ids after that."""
        self.tie(ids, ids.narrow(dim, 0, 1))
        return self.now(ids)

    def pin(self, ids: Tensor, because: str) -> None:
        """These cannot be removed; the first reason counts."""
        if self.searching:
            return
        few, reason = thin(ids).reshape(-1), self._marks[Mark.REASON]
        free = few[reason.index_select(0, few) == 0]
        if free.numel():
            reason.index_fill_(0, free, len(self.reasons))
            self.reasons.append(f"{because}; only training runs this" if self.training else because)

    def meet(self, a: Tensor, b: Tensor, because: str) -> Tensor:
        """Tie aligned ids; what meets numbers that belong to no unit is pinned instead. The ids of the result.

        A tensor with the same number everywhere may follow in size; whether it does is tried.
        """
        a, b = together(a, b)
        if a.numel() and int(a.min()) > DATA < int(b.min()):
            self.tie(a, b)
            return self.now(a)
        nobody_a, nobody_b = a <= DATA, b <= DATA
        for one, other in ((a, b), (b, a)):
            self.pin(one[(other > BLANK) & (other <= DATA)], because)
            self.ask(one[(other == BLANK) & (one > DATA)], self.operator)
        both = ~(nobody_a | nobody_b)
        self.tie(a[both], b[both])
        return self.now(torch.where(nobody_a & ~nobody_b, b, torch.where(nobody_b, torch.maximum(a, b), a)))

    def mark(self, *, makes: Tensor, reads: Tensor, inner: bool = False) -> None:
        """A contraction makes the units of some ids and reads those of others; `inner`: one of weights alone."""
        if self.searching:
            return
        makes, reads = makes.reshape(-1), reads.reshape(-1)
        over, made = self._marks[Mark.OF_WEIGHTS if inner else Mark.OF_ACTIVATIONS], self._marks[Mark.MADE]
        self._contractions += 1
        made.index_fill_(0, makes[made.index_select(0, makes) == 0], self._contractions)
        for marked, ids in ((over, makes), (over, reads), (self._marks[Mark.READ], reads)):
            marked.index_fill_(0, ids, 1)
        for number in self._unreadable.keys() & set(reads.tolist()) if self._unreadable else ():
            self.pin(torch.tensor([number]), self._unreadable[number])

    def flow(self, whole: Tensor, part: Tensor, because: str, *, reads: bool = True) -> None:
        """Positions of a computed weight are those of a weight that it is computed from.

        What makes or reads the one makes or reads the other; `reads=False`: a 0 there would not make the whole 0.
        """
        self.meet(whole, part, because)
        known = part > DATA
        self._flows.append((whole[known], part[known], reads))

    def unreadable(self, ids: Tensor, because: str) -> None:
        """These positions of a computed weight are not 0 where those of its parts are: who is read by them stays."""
        self._unreadable |= dict.fromkeys(ids.flatten().tolist(), because)

    def readable(self, ids: Tensor) -> bool:
        """Whether all of these may be read as 0."""
        return not self._unreadable.keys() & set(ids.flatten().tolist())

    def _settle(self) -> None:
        """Pass on to its parts what a computed weight makes and reads: the last was computed from those before."""
        made, read, of_activations = (self._marks[m] for m in (Mark.MADE, Mark.READ, Mark.OF_ACTIVATIONS))
        while self._flows:
            whole, part, reads = self._flows.pop()
            new = (made[whole] > 0) & (made[part] == 0)
            made[part[new]] = made[whole[new]]
            read[part[(read[whole] > 0) & reads]] = 1
            of_activations[part[of_activations[whole] > 0]] = 1

    def mix(self, ids: Tensor) -> None:
        """These numbers depend on other data than their unit's; in training mode no constant is claimed of any."""
        if not self.training:
            self._marks[Mark.DEPENDS_ON_OTHERS].index_fill_(0, thin(ids).reshape(-1), 1)

    def lose(self, ids: Tensor) -> None:
        """Removing these units changes the outputs of the others, as where they share a norm."""
        self._marks[Mark.MISSED_BY_OTHERS].index_fill_(0, thin(ids).reshape(-1), 1)

    def ask(self, ids: Tensor, operator: str) -> None:
        """Whether these can go depends on sizes that may be written into the code at this operator."""
        if ids.numel():
            self.asks.append((thin(ids).reshape(-1), operator))

    def guess(self, ids: Tensor) -> None:
        """An operator infers a size; with fewer of these units it may infer a wrong one without failing."""
        self.guesses.append(thin(ids).reshape(-1))

    def view(self, operator: str, ids: Tensor | None = None, *, inferred: bool = False) -> None:
        """A view was met; where units lie in what it gives, their number is known. `inferred`: it works out a size."""
        if ids is not None and varied(ids):
            self.views.append(View(operator, self.calls[operator], ids, inferred))
        self.calls[operator] += 1

    def grid(self, ids: Tensor) -> Tensor:
        """Only whole columns of the last dimension can be removed, so that the rest of the tensor is a block."""
        self.unsure = True
        if not self.looking:
            for dim in varied(ids)[:-1]:
                ids = self.tie_over(ids, dim)
        return ids

    def placed(self, left: Tensor, right: Tensor, shape: torch.Size) -> Tensor:
        """Batched product of two activations: everything in one batch entry belongs to one head.

        Returns new ids of the batch entries, in the product's shape, tied to nothing yet; only a search for heads needs
        them.
        """
        self.unsure = True
        left, right = thin(left), thin(right)
        places = broadcast(left.shape[:-2], right.shape[:-2])
        new = self.fresh(shape[:-2].numel()).view(shape[:-2])  # as many in every run, so that ids mean the same
        for dim, size in enumerate(places):
            new = new.narrow(dim, 0, size)
        if self.looking and places.numel() > 1:
            all_three = [x.expand(*places, *x.shape[-2:]).flatten(-2) for x in (left, right, new[..., None, None])]
            self.heads.append(torch.cat(all_three, -1).flatten(0, -2))
        return new[..., None, None].expand(shape)

    def known(self) -> "Known":
        """The ties, for another run."""
        return Known(self._union.flat().clone(), self._marks[Mark.TIED].clone())

    def known_with_heads(self) -> "Known":
        """The ties, everything of a head tied, for another run."""
        before = self.known()
        for ids in self.heads:
            self.tie_over(ids, 1)
        found = self.known()
        self._restore(before)
        return found

    def root(self, ids: Tensor) -> Tensor:
        """The id that stands for each id's unit."""
        return thin(ids).expand(ids.shape) if self._is_current(ids) else self._union.find(thin(ids)).expand(ids.shape)

    def roots(self) -> Tensor:
        """For every id the one that stands for its unit."""
        return self._union.flat()[: self._count]

    def made(self, ids: Tensor) -> int:
        """How early these were made by a contraction; 0: never."""
        self._settle()
        return int(self._marks[Mark.MADE][ids].max()) if len(ids) else 0

    def read(self, ids: Tensor) -> bool:
        """Whether a contraction reads these."""
        self._settle()
        return bool(self._marks[Mark.READ][ids].any())

    def why(self) -> Tensor:
        """For every id the number of a reason why its unit must stay, 0 where it may go."""
        self._settle()
        inside, outside = (self._of_unit(self._marks[m]) > 0 for m in (Mark.OF_WEIGHTS, Mark.OF_ACTIVATIONS))
        self.pin((inside & outside).nonzero().flatten(), SUMMED)
        return self._of_unit(self._marks[Mark.REASON])

    def tied(self) -> Tensor:
        """For every id the number of the last of `operators` that tied its unit to others; 0: none."""
        return self._of_unit(self._marks[Mark.TIED])

    def lost(self) -> Tensor:
        """For every id whether others change when its unit goes."""
        return self._of_unit(self._marks[Mark.MISSED_BY_OTHERS]) > 0

    def mixed(self) -> Tensor:
        """For every id whether its unit met other data."""
        return self._of_unit(self._marks[Mark.DEPENDS_ON_OTHERS]) > 0

    def _of_unit(self, values: Tensor) -> Tensor:
        root, values = self._union.flat()[: self._count], values[: self._count]
        if not values.any():
            return torch.zeros_like(values)
        return torch.zeros_like(values).scatter_reduce_(0, root, values, "amax")[root]
