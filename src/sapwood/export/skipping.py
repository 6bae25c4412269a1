"""Skipping: a network with saliency gates, run so that what they close for a sample is not computed for it.

Every linear layer and convolution multiplies, for samples with the same masks, only the open rows and columns of its
weight, W[out][:, in], with the open channels of what it is given.
"""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from sapwood.errors import InputError
from sapwood.gates import Gated, Saliency
from sapwood.gates.point import at_positions
from sapwood.scoring.layers import every_layer
from sapwood.scoring.layout import Straight
from sapwood.shrinking.tracing.site import Site, Slot


class Skipping(nn.Module):
    """A copy of a gated network, in evaluation mode, that computes what each sample's gates leave open and no more.

    Its outputs are those of the gated network. After a pass `executed`, int64 [B], says how many multiply-adds each
    sample took, in linear layers, convolutions and gates. Gates decide layer by layer, so that equal masks are looked
    for in each layer: of many samples that differ, groups are small, and nothing but multiply-adds is saved.

    gated: its gates are all saliency gates. sites: where they are, as found in `gated.model`. example: with one, what
    runs between layers is tried on as few channels as are open; where that gives the same, `compact` is True and a
    sample by itself is run so, else at full size, closed channels being 0. InputError names a layer of whose weight no
    rows or columns can be left out, as of a grouped convolution.
    Example: `small = Skipping(gated, sites(gated.model, image), image); answers = small(image)`.
    """

    def __init__(self, gated: Gated, sites: Sequence[Site], example: Tensor | None = None) -> None:
        super().__init__()
        self.network, self.gates = deepcopy(gated.model), deepcopy(gated.gates)
        self.executed = torch.zeros(0, dtype=torch.int64)
        self._pass, known = _Pass(), {site.name: site for site in sites}
        layers = every_layer(self.network)
        parts = {n: _Part(m, self._pass) for n, m in layers.items() if isinstance(m, Straight | nn.Linear)}
        norms = dict[str, _Norm]()
        for name, gate in zip(gated.points, self.gates.values(), strict=True):
            if name not in known or not isinstance(gate, Saliency):
                raise InputError(f"site {name!r} has a {type(gate).__name__} gate, or is not among the sites given; "
                                 "give sites(gated.model, example), and Saliency gates only")  # fmt: skip
            for slot in known[name].slots:
                _put(parts, norms, self.network, self._pass, known[name], slot)
            _part(parts, known[name], name.partition("#")[0]).decides.append((name, gate))
        replaced: dict[str, _Part | _Norm] = {**parts, **norms}
        for name, part in replaced.items():
            self.network.get_submodule(name).forward = part.forward
        self.eval()
        self.compact = self._pass.compact = example is not None and self._agrees(sites, example[:1])

    def train(self, mode: bool = True) -> "Skipping":
        """Stay in evaluation mode; it is the gated network that is trained."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, *inputs: Any) -> Any:
        """The gated network's outputs."""
        self._pass.begin({})
        outputs = self.network(*inputs)
        self.executed = self._pass.executed()
        return outputs

    @torch.no_grad()
    def _agrees(self, sites: Sequence[Site], sample: Tensor) -> bool:
        """Whether, with every second unit closed, it answers on open channels as it does at full size."""
        for first in (0, 1):
            halves = {site.name: (torch.arange(site.units) + first) % 2 == 0 for site in sites}
            given = {name: mask[None].to(sample.device) for name, mask in halves.items()}
            answers = []
            for compact in (False, True):
                self._pass.begin(given)
                self._pass.compact = compact
                try:
                    answers.append(self.network(sample))
                except (RuntimeError, ValueError, IndexError, TypeError):  # code that wants all channels
                    return False
            full, small = answers
            if full.shape != small.shape or not torch.allclose(full, small, rtol=1e-3, atol=1e-4):
                return False
        return True


class _Pass:
    """What is known in one pass: each site's masks, and what each sample took so far."""

    def __init__(self) -> None:
        self.compact = False  # whether a sample by itself has its open channels only
        self.begin({})

    def begin(self, masks: Mapping[str, Tensor]) -> None:
        """Forget the last pass; gates of sites with `masks` decide nothing."""
        self.masks = dict(masks)
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

    def executed(self) -> Tensor:
        """What each sample took, [B]."""
        return self._each + self._alike


Place = tuple[str, Tensor | None]  # a site, and its unit at each position; None: one after another


class _Norm:
    """How a batch norm scales the open channels of a sample by itself."""

    def __init__(self, layer: _BatchNorm, now: _Pass) -> None:
        self.layer, self.now, self.holds = layer, now, list[Place]()

    def forward(self, x: Tensor) -> Tensor:
        """The norm's outputs."""
        norm, mask = self.layer, self.now.open(self.holds)
        if not self.now.compact or len(x) > 1 or mask is None:
            return type(norm).forward(norm, x)
        tensors = (norm.running_mean, norm.running_var, norm.weight, norm.bias)
        kept = mask[0].nonzero().flatten()
        mean, variance, weight, bias = (each if each is None else each[kept] for each in tensors)
        return F.batch_norm(x, mean, variance, weight, bias, eps=norm.eps)


class _Part:
    """How a layer computes its open outputs from its open inputs. Closed outputs are 0."""

    def __init__(self, layer: Straight | nn.Linear, now: _Pass) -> None:
        self.layer, self.now = layer, now
        self.axis = 1 if isinstance(layer, Straight) else -1
        self.decides: list[tuple[str, Saliency]] = []  # the sites whose masks are chosen here
        self.makes: list[Place] = []
        self.reads: list[Place] = []

    def forward(self, x: Tensor) -> Tensor:
        """The layer's outputs."""
        read = self.now.open(self.reads)
        for site, gate in self.decides:
            if site not in self.now.masks:
                self.now.masks[site] = gate.decided(gate.score(self._means(gate, x, read)))
                self.now.count(None, len(x), gate.macs)
        y: Tensor | None = None
        for members, into, out in _groups(read, self.now.open(self.makes)):
            part = self._computed(x, members, into, out)
            if members is None:
                return part
            y = part.new_empty(len(x), *part.shape[1:]) if y is None else y
            y[members] = part
        assert y is not None  # there is a group at least
        return y

    def _means(self, gate: Saliency, x: Tensor, read: Tensor | None) -> Tensor:
        """The mean of each channel that a gate reads; what is closed is 0."""
        if read is None:
            return gate.pooled(x)
        if not self.now.compact or len(x) > 1:
            return gate.pooled(x) * read
        return x.new_zeros(1, gate.reads).masked_scatter_(read, x.flatten(2).mean(2) if x.dim() > 2 else x)

    def _computed(self, x: Tensor, members: Tensor | None, into: Tensor | None, out: Tensor | None) -> Tensor:
        """The outputs of some samples with the same masks, by the positions that are open."""
        bias, samples = self.layer.bias, len(x)
        compact = self.now.compact and samples == 1
        x = x if members is None else x[members]
        x = x if into is None or compact else x.index_select(self.axis, into)
        bias = bias if bias is None or out is None else bias.index_select(0, out)
        weight = _sliced(self.layer.weight, out, into)
        layer = self.layer
        y = F.linear(x, weight, bias) if isinstance(layer, nn.Linear) else layer._conv_forward(x, weight, bias)
        self.now.count(members, samples, weight.numel() * (y[0].numel() // len(weight)))
        if out is None or compact:
            return y
        shape = [*y.shape]
        shape[self.axis] = len(self.layer.weight)
        return y.new_zeros(shape).index_copy_(self.axis, out, y)


def _sliced(weight: Tensor, out: Tensor | None, into: Tensor | None) -> Tensor:
    """weight[out][:, into]; both at once, since copying a large weight takes longer than multiplying it a few times."""
    if out is None:
        return weight if into is None else weight.index_select(1, into)
    if into is None:
        return weight.index_select(0, out)
    pairs = (out[:, None] * weight.shape[1] + into).flatten()
    return weight.flatten(0, 1).index_select(0, pairs).view(len(out), len(into), *weight.shape[2:])


Group = tuple[Tensor | None, Tensor | None, Tensor | None]  # samples, open inputs, open outputs; None: all


def _groups(read: Tensor | None, made: Tensor | None) -> Iterator[Group]:
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


def _put(
    parts: dict[str, _Part], norms: dict[str, _Norm], network: nn.Module, now: _Pass, site: Site, slot: Slot
) -> None:
    """Tell a layer of a site's units among its outputs or inputs, or a norm."""
    name, _, last = slot.tensor.rpartition(".")
    order = torch.equal(slot.unit_of, torch.arange(site.units))
    place = site.name, None if order else slot.unit_of
    if slot.role == "holds" and name not in parts:
        norm = network.get_submodule(name)
        if isinstance(norm, _BatchNorm) and last == "running_mean":
            norms.setdefault(name, _Norm(norm, now)).holds.append(place)
    elif last != "bias":
        part = _part(parts, site, name)
        if last != "weight" or slot.role in ("both", "holds") or slot.dim != (slot.role == "reads"):
            raise _stuck(site, slot.tensor)
        (part.reads if slot.dim else part.makes).append(place)


def _part(parts: dict[str, _Part], site: Site, name: str) -> _Part:
    if name not in parts or getattr(parts[name].layer, "groups", 1) > 1:
        raise _stuck(site, name)
    return parts[name]


def _stuck(site: Site, name: str) -> InputError:
    return InputError(f"units of site {site.name!r} cannot be skipped at {name!r}: their rows and columns are left out "
                      "of linear layers and ungrouped convolutions only; leave this site without a gate")  # fmt: skip
