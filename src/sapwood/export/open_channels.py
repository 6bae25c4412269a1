"""Open channels: how one layer of a network computes, for each sample, its open outputs from its open inputs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from time import perf_counter

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from sapwood.gates import Saliency
from sapwood.gates.point import at_positions
from sapwood.scoring.layout import Straight

REPEATS = 5  # of a layer that is timed


class Pass:
    """What is known in one pass: each site's masks, and what each sample took so far."""

    def __init__(self) -> None:
        self.compact = False  # whether a sample by itself has its open channels only
        self.timing = False  # whether layers are run both ways, and timed
        self.begin({})

    def begin(self, masks: Mapping[str, Tensor]) -> None:
        """Forget the last pass; gates of sites with `masks` decide nothing."""
        self.masks, self._places = dict(masks), dict[object, Tensor | None]()
        self._alike, self._each = 0, torch.zeros(1, dtype=torch.int64)

    def count(self, members: Tensor | None, samples: int, macs: int) -> None:
        """Add what some samples took, or all."""
        if len(self._each) != samples:
            self._each = torch.zeros(samples, dtype=torch.int64)
        if members is None:
            self._alike += macs
        else:
            self._each[members.to(self._each.device)] += macs

    def open(self, places: "Sequence[Place]") -> Tensor | None:
        """Which positions are open, bool [B, positions]; None where all are."""
        found: Tensor | None = None
        for site, units in places:
            mask = self.masks[site] if units is None else at_positions(self.masks[site], units)
            found = mask if found is None else found & mask
        return found

    def places(self, of: "list[Place]") -> Tensor | None:
        """Which positions of the first sample are open, their numbers; found once for a site in its own order."""
        key = of[0][0] if len(of) == 1 and of[0][1] is None else id(of)
        if key not in self._places:
            mask = self.open(of)
            self._places[key] = None if mask is None else mask[0].nonzero().flatten()
        return self._places[key]

    def executed(self) -> Tensor:
        """What each sample took, [B]."""
        return self._each + self._alike


Place = tuple[str, Tensor | None]  # a site, and its unit at each position; None: one after another


class Norm:
    """How a batch norm scales the open channels of a sample by itself."""

    def __init__(self, layer: _BatchNorm, now: Pass) -> None:
        self.layer, self.now, self.holds = layer, now, list[Place]()

    def forward(self, x: Tensor) -> Tensor:
        """The norm's outputs."""
        norm = self.layer
        kept = self.now.places(self.holds) if self.now.compact and len(x) == 1 else None
        if kept is None:
            return type(norm).forward(norm, x)
        tensors = (norm.running_mean, norm.running_var, norm.weight, norm.bias)
        mean, variance, weight, bias = (each if each is None else each.index_select(0, kept) for each in tensors)
        return F.batch_norm(x, mean, variance, weight, bias, eps=norm.eps)


class Part:
    """How a layer computes its open outputs from its open inputs; what is closed is never read."""

    def __init__(self, layer: Straight | nn.Linear, now: Pass) -> None:
        self.layer, self.now = layer, now
        self.axis = 1 if isinstance(layer, Straight) else -1
        self.decides: list[tuple[str, Saliency]] = []  # the sites whose masks are chosen here
        self.makes: list[Place] = []
        self.reads: list[Place] = []
        self.whole = False  # whether everything is multiplied
        self.seconds = {False: 0.0, True: 0.0}  # that it took in parts, and whole

    def forward(self, x: Tensor) -> Tensor:
        """The layer's outputs."""
        for site, gate in self.decides:
            if site not in self.now.masks:
                self.now.masks[site] = _decided(gate, gate.score(self._means(gate, x)))
                self.now.count(None, len(x), gate.macs)
        if self.now.timing and (self.reads or self.makes):
            for whole in (False, True):
                self.seconds[whole] += shortest(partial(self._run, whole, x))
        return self._run(self.whole, x)

    def _run(self, whole: bool, x: Tensor) -> Tensor:
        if len(x) == 1:
            into, out = self.now.places(self.reads), self.now.places(self.makes)
            return self._all_of_one(x, into, out) if whole else self._computed(x, None, into, out)
        read, made = self.now.open(self.reads), self.now.open(self.makes)
        if whole:
            return self._all(x if read is None else x * self._along(read, x))
        found: Tensor | None = None
        for members, into, out in groups(read, made):
            part = self._computed(x, members, into, out)
            if members is None:
                return part
            found = part.new_empty(len(x), *part.shape[1:]) if found is None else found
            found[members] = part
        assert found is not None  # there is a group at least
        return found

    def _all_of_one(self, x: Tensor, into: Tensor | None, out: Tensor | None) -> Tensor:
        """Everything multiplied for a sample by itself, closed inputs being 0."""
        if into is not None:
            x = self._full(x if self.now.compact else x.index_select(self.axis, into), into, self.layer.weight.shape[1])
        y = self._all(x)
        return y.index_select(self.axis, out) if self.now.compact and out is not None else y

    def _all(self, x: Tensor) -> Tensor:
        """The layer's outputs, counted."""
        layer = self.layer
        y = self._applied(x, layer.weight, layer.bias)
        self.now.count(None, len(x), layer.weight.numel() * (y[0].numel() // len(layer.weight)))
        return y

    def _full(self, x: Tensor, places: Tensor, size: int) -> Tensor:
        """Channels put where they belong among zeros."""
        shape = [*x.shape]
        shape[self.axis] = size
        return x.new_zeros(shape).index_copy_(self.axis, places, x)

    def _along(self, mask: Tensor, x: Tensor) -> Tensor:
        """A mask of each sample's channels, of as many dimensions as x."""
        at = self.axis % x.dim()
        return mask.view([len(mask) if dim == 0 else -1 if dim == at else 1 for dim in range(x.dim())])

    def _applied(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        layer = self.layer
        return F.linear(x, weight, bias) if isinstance(layer, nn.Linear) else layer._conv_forward(x, weight, bias)

    def _means(self, gate: Saliency, x: Tensor) -> Tensor:
        """The mean of each channel that a gate reads; what is closed is 0."""
        if not self.reads:
            return gate.pooled(x)
        if not self.now.compact or len(x) > 1:
            read = self.now.open(self.reads)
            return gate.pooled(x) if read is None else gate.pooled(x) * read
        into = self.now.places(self.reads)
        means = x.flatten(2).mean(2) if x.dim() > 2 else x
        return means if into is None else x.new_zeros(1, gate.reads).index_copy_(1, into, means)

    def _computed(self, x: Tensor, members: Tensor | None, into: Tensor | None, out: Tensor | None) -> Tensor:
        """The outputs of some samples with the same masks, by the positions that are open."""
        bias, samples = self.layer.bias, len(x)
        compact = self.now.compact and samples == 1
        x = x if members is None else x[members]
        x = x if into is None or compact else x.index_select(self.axis, into)
        bias = bias if bias is None or out is None else bias.index_select(0, out)
        weight = sliced(self.layer.weight, out, into)
        y = self._applied(x, weight, bias)
        self.now.count(members, samples, weight.numel() * (y[0].numel() // len(weight)))
        if out is None or compact:
            return y
        return self._full(y, out, len(self.layer.weight))


def sliced(weight: Tensor, out: Tensor | None, into: Tensor | None) -> Tensor:
    """weight[out][:, into]; both at once, since copying a large weight takes longer than multiplying it a few times."""
    if out is None:
        return weight if into is None else weight.index_select(1, into)
    if into is None:
        return weight.index_select(0, out)
    pairs = (out[:, None] * weight.shape[1] + into).flatten()
    return weight.flatten(0, 1).index_select(0, pairs).view(len(out), len(into), *weight.shape[2:])


def _decided(gate: Saliency, a: Tensor) -> Tensor:
    """What `gate.decided` says, without ranking scores where enough of them are above 0."""
    above = a > 0
    enough = bool(gate.awake) and int(above.sum(-1).min()) >= gate.least
    return above if enough else gate.decided(a)


def shortest(run: Callable[[], object]) -> float:
    """The shortest of a few runs, in seconds; the first is not counted."""
    run()
    seconds = []
    for _ in range(REPEATS):
        began = perf_counter()
        run()
        seconds.append(perf_counter() - began)
    return min(seconds)


Group = tuple[Tensor | None, Tensor | None, Tensor | None]  # samples, open inputs, open outputs; None: all


def groups(read: Tensor | None, made: Tensor | None) -> Iterator[Group]:
    """Samples with the same open inputs and outputs, and which these are."""
    masks = [mask for mask in (read, made) if mask is not None]
    if not masks:
        yield None, None, None
        return
    rows = torch.cat(masks, 1)
    distinct, which = (rows, None) if len(rows) == 1 else torch.unique(rows, dim=0, return_inverse=True)
    for number, row in enumerate(distinct):
        members = None if which is None or len(distinct) == 1 else (which == number).nonzero().flatten()
        places = [part.nonzero().flatten() for part in row.split([mask.shape[1] for mask in masks])]
        yield members, places[0] if read is not None else None, places[-1] if made is not None else None
