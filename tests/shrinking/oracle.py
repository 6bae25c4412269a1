"""An oracle that knows nothing of graphs: where a unit is made there is NaN, and where NaN arrives the unit is read.

Operators are watched as they are called. One that multiplies with a weight of the network takes 0 for NaN, so nothing
spreads beyond the unit's readers, and what comes out is the answer of the network with these units gated. Of a site
only the rows that make a unit are believed; who reads it, and who holds numbers for it, is seen.
"""

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from sapwood.shrinking.tracing.graph import as_tuple, named_tensors

PRODUCTS = ("matmul", "__matmul__", "bmm")
SUMS = ("sum", "norm", "normalize")
BY_CHANNEL = ("batch_norm", "instance_norm", "group_norm", "prelu")
MATRICES = {"linear": (1, 0, -1, False), "matmul": (0, 1, -1, False), "embedding": (None, 1, -1, False)}


class Spoiling(TorchFunctionMode):
    """Watches a network run. `gone`: {(tensor, dimension): bool, the positions that make units to be spoilt}."""

    def __init__(self, model, gone):
        super().__init__()
        self.names, self.gone, self.touched, self.computed = {}, gone, {}, {}
        for name, tensor in named_tensors(model):
            self.names.setdefault(id(tensor), name)

    def __torch_function__(self, function, types, args=(), kwargs=None):
        op, kwargs = getattr(function, "__name__", ""), kwargs or {}
        place = _place(op, args)
        if place is None or not self.knows(args[1]):
            return self.other(function, op, args, kwargs)
        x, weight, *rest = args
        reads, makes, dim, alone = place
        if reads is not None and not alone:
            self.see(weight, reads, _spoilt(x, dim))
            x = x.nan_to_num(0.0)
        y = self.spoil(function(x, weight, *rest, **kwargs), dim, (self.names[id(weight)], makes))
        if alone:
            self.see(weight, 0, _spoilt(y, dim))
        for bias in filter(self.knows, rest[:1]):
            self.see(bias, 0, _spoilt(y, dim))
        return y

    def other(self, function, op, args, kwargs):
        """What reads no units, or reads them without a weight; what is computed from parameters alone stays known."""
        if op in SUMS and bool(args[0].isnan().any()):
            return _summed(function, args, kwargs)
        if op in PRODUCTS and not any(self.parts(x) for x in args[:2]):
            return _summed_products(function, *args[:2])
        if op == "cosine_similarity":
            return function(*(x.nan_to_num(0.0) for x in args[:2]), *args[2:], **kwargs)
        self.hold([*args, *kwargs.values()], op)
        y = function(*args, **kwargs)
        tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        if isinstance(y, Tensor) and tensors and all(self.parts(tensor) for tensor in tensors):
            self.computed[id(y)] = y, [part for tensor in tensors for part in self.parts(tensor)]
        return y

    def parts(self, value):
        """The network's tensors of which one was computed."""
        return [value] if self.knows(value) else self.computed.get(id(value), (None, []))[1]

    def knows(self, value):
        return id(value) in self.names

    def spoil(self, y, dim, made):
        if made in self.gone:
            rows = self.gone[made]
            y.movedim(dim, 0)[rows.repeat(y.shape[dim] // len(rows))] = torch.nan
        return y

    def hold(self, values, op):
        """Parameters with one number for each position along one dimension of an activation."""
        tensors = [value for value in values if isinstance(value, Tensor)]
        for x in [t for t in tensors if not self.parts(t) and t.dim() > 0][:1]:
            for held in filter(self.parts, tensors):
                at, size = _longest(held)
                if size == held.numel() > 1:
                    for part in (part for part in self.parts(held) if part.numel() == size):
                        self.see(part, _longest(part)[0], _spoilt(x, 1 if op in BY_CHANNEL else at - held.dim()))

    def see(self, tensor, dim, spoilt):
        """A weight in groups has one position for a channel of each."""
        here, place = spoilt.view(-1, tensor.shape[dim]).any(0), (self.names[id(tensor)], dim)
        self.touched[place] = self.touched.get(place, here) | here


def _longest(tensor):
    """The last dimension of the largest size, and that size."""
    size, at = max(tensor.shape, default=0), tensor.dim() - 1
    while at > 0 and tensor.shape[at] < size:
        at -= 1
    return at, size


def _summed(function, args, kwargs):
    """A sum or a norm of those that are not spoilt; of spoilt ones alone it is spoilt."""
    x, *rest = args
    y = function(x.nan_to_num(0.0), *rest, **kwargs)
    if y.shape == x.shape:
        return y.masked_fill(x.isnan(), torch.nan)
    return y.masked_fill(function((~x.isnan()).to(x), *rest, **kwargs) == 0, torch.nan)


def _summed_products(function, a, b):
    """A product of two activations without what is spoilt in either; of spoilt ones alone it is spoilt."""
    y = function(a.nan_to_num(0.0), b.nan_to_num(0.0))
    return y.masked_fill(function((~a.isnan()).to(y), (~b.isnan()).to(y)) == 0, torch.nan)


def _place(op, args):
    """A weight's dimension that reads, the one that makes, the activation's, and whether its channels stay alone."""
    if op in MATRICES or not op.startswith("conv"):
        return MATRICES.get(op)
    x, weight, groups, transposed = args[0], args[1], args[6], op.startswith("conv_transpose")
    alone = groups > 1 == weight.shape[1] and (not transposed or groups == len(weight))
    return *((0, 1) if transposed else (1, 0)), x.dim() - weight.dim() + 1, alone


def _spoilt(x, dim):
    return x.isnan().movedim(dim, 0).flatten(1).any(1)


def gone_from(sites, keep, *roles):
    """{(tensor, dimension): bool, the positions that go}, from slots of these roles."""
    found = {}
    for site in sites:
        slots = [slot for slot in site.slots if slot.role in (*roles, "both")]  # those go there and come back
        for slot in slots if site.name in keep else ():
            here = (slot.unit_of >= 0) & ~keep[site.name][slot.unit_of]
            found[slot.tensor, slot.dim] = found.get((slot.tensor, slot.dim), torch.zeros_like(here)) | here
    return {place: here for place, here in found.items() if bool(here.any())}


@torch.no_grad()
def spoilt(model, example, gone, spelt=None):
    """({(tensor, dimension): bool, the positions that NaN touches}, the answer of the network with the units gated).

    `spelt`: a network with the tensors of `model` that computes the same by operators which can be watched.
    """
    with Spoiling(model, gone) as watched:
        answer = (spelt or model)(*as_tuple(example))
    return {place: here for place, here in watched.touched.items() if bool(here.any())}, answer


def confirmed(model, example, sites, keep, spelt=None):
    """The answer of the gated network. That NaN touches what the slots say, and nothing else, is asserted."""
    touched, answer = spoilt(model, example, gone_from(sites, keep, "makes"), spelt)
    told = gone_from(sites, keep, "reads", "holds")
    told = {place: here for place, here in told.items() if not place[0].startswith("aux.")}  # only training runs it
    assert touched.keys() == told.keys(), f"touched or told, not both: {sorted(touched.keys() ^ told.keys())}"
    for place, here in touched.items():
        assert torch.equal(here, told[place]), f"{place}: touched {here.tolist()}, told {told[place].tolist()}"
    assert not bool(answer.isnan().any()), "the answer is spoilt"
    return answer
