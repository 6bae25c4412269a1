"""Bugs planted in the rules for products and for weights computed from weights.

The law does without the proof: what two ordinary layers make and read around a product is masked instead.
"""

from functools import partial

import torch
import torch.nn.functional as F
from planted.mutant import bugs, instead
from planted.shrinking import running, some
from shrinking.zoo import Written, flat, settled
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from sapwood.checks.law import Laws, demand
from sapwood.shrinking import finding as sites
from sapwood.shrinking import shrunk as shrink
from sapwood.shrinking.cutting.cut import leaving
from sapwood.shrinking.rules import contraction, einsum, weights
from sapwood.shrinking.tracing import computed

LEFT = "what is left answers as the whole with the units masked"


def par(*shape):
    return nn.Parameter(torch.zeros(shape))


def around(middle, out=8, **layers):
    """Two ordinary layers, and something between them that makes units and reads them."""

    def forward(of, x):
        return of["last"](F.relu(middle(of, F.relu(of["first"](x)))))

    return Written(forward, first=nn.Linear(5, 6), last=nn.Linear(out, 3), **layers), flat(5)


def scaled():
    return around(lambda of, x: F.linear(x, of["w"] * of["g"]), w=par(8, 6), g=par(8, 1))


def adapted():
    return around(lambda of, x: F.linear(x, of["w"] + of["B"] @ of["A"]), w=par(8, 6), A=par(4, 6), B=par(8, 4))


def halved():
    return around(lambda of, x: F.linear(x, of["w"].chunk(2)[0]), w=par(16, 6))


def lettered():
    return around(lambda of, x: torch.einsum("bi,io->bo", x, of["w"]), w=par(6, 8))


def heads():
    return around(lambda of, x: torch.einsum("bi,ihd->bhd", x, of["w"]).flatten(1), w=par(6, 2, 4))


def divided():
    return around(lambda of, x: of["w"](x), w=spectral_norm(nn.Linear(6, 8)))


def attended():
    """Queries and keys, whose scale is written down."""

    def middle(of, x):
        q, k = of["q"](x), of["k"](x)
        return F.softmax(q @ k.mT * 0.5, -1) @ x

    return around(middle, 6, q=nn.Linear(6, 4, bias=False), k=nn.Linear(6, 4, bias=False))


INSIDE = ("bare.A", "layers.q.weight")  # who makes units that no ordinary layer reads: they are 0 where these are
NETWORKS = {make.__name__: make for make in (scaled, adapted, halved, lettered, heads, divided, attended)}


def laws() -> Laws:
    return {f"products {name}: {LEFT}": partial(left, make) for name, make in NETWORKS.items()}


@running()
def left(make):
    model, example = make()
    model = settled(model)
    found = sites.sites(model, example)
    seen = ("layers.first.weight", "layers.last.weight", *INSIDE)
    touched = [site for site in found if any(slot.tensor in seen for slot in site.slots)]
    keep = some(touched)
    between = [slot for site in found for slot in site.slots if (slot.tensor, slot.dim) == ("layers.last.weight", 1)]
    demand(bool(between), "units that the last layer reads are not offered")
    small = shrink.shrink(model, keep, found, example=example, check=False).model
    demand(sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in model.parameters()), "nothing went")
    first, last = model.layers["first"], model.layers["last"]
    first.register_forward_hook(lambda _, given, y: y.masked_fill(gone(found, keep, "layers.first.weight", 0), 0))
    last.register_forward_pre_hook(lambda _, given: given[0].masked_fill(gone(found, keep, "layers.last.weight", 1), 0))
    with torch.no_grad():
        for name, inner in model.named_parameters():
            if name in INSIDE:
                inner[gone(found, keep, name, 0)] = 0
        difference = float((small(example) - model(example)).abs().max())
    demand(difference < 1e-10, f"the answers differ by {difference:.1e}")


def gone(found, keep, tensor, dim):
    """The positions that go."""
    slots = [(slot, keep[site.name]) for site in found if site.name in keep for slot in site.slots]
    here = [leaving(slot, kept) for slot, kept in slots if (slot.tensor, slot.dim) == (tensor, dim)]
    return torch.stack(here).any(0) if here else torch.tensor(False)


# ---- bugs ----


def untied_parts(ties, call, new, dims, part, kind, n):
    here = [layer for layer in part if weights.varied(layer)]
    return not here or n > 0


def not_cut(call, dim, whole):
    return 0


def no_rank(ties, call, layer, alike, turned):
    ties.mark(makes=weights.thin(alike[0]).flatten(), reads=weights.thin(layer).flatten(), inner=True)


def no_columns(ties, call, x, w, summed):
    return weights.thin(einsum._within(ties, call, w, summed)[0]).flatten()


def no_pairs(ties, call, left, right):
    return contraction.nobody(left.shape), contraction.nobody(right.shape)


def all_heads_alike(ties, call, w, made):
    layer = einsum._within(ties, call, w, made)[-1]
    return weights.thin(layer).flatten(), torch.zeros([w.sizes()[name] for name in made], dtype=torch.int64) + 2


MUTANTS = tuple(
    mutant
    for name, planted in {
        "scaled": {"a scale is not tied to the rows that it scales": instead(weights, "_met", untied_parts)},
        "adapted": {"the rank of an adapter is not tied between its matrices": instead(einsum, "_between", no_rank)},
        "halved": {"halves of a weight lose different rows": instead(weights, "_granularity", not_cut)},
        "lettered": {"a letter that is read is not tied to who made it": instead(einsum, "_columns", no_columns)},
        "heads": {"places in heads are made by nobody": instead(einsum, "_rows", all_heads_alike)},
        "attended": {"units of queries go without those of keys": instead(contraction, "_added_up", no_pairs)},
        "divided": {"a spectral norm is of the smaller weight": instead(computed, "spectral", lambda model: iter(()))},
    }.items()
    for mutant in bugs(f"products {name}", laws, {LEFT: planted})
)
