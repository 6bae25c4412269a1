"""Bugs planted in shrinking: in finding units, cutting them out, folding what they send, and in the proof.

The laws about what is left do without the proof: they ask the oracle, or what was worked out by hand.
"""

from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from unittest.mock import patch

import torch
import torch.nn.functional as F
from planted.mutant import bugs, instead
from shrinking import zoo
from shrinking.oracle import confirmed, gone_from, spoilt
from shrinking.random_moves import Frozen
from shrinking.zoo import Written, conv, flat, image
from torch import nn
from torch.nn.utils.parametrizations import weight_norm
from torch.optim import SGD

from sapwood.checks.law import Laws, demand, demand_refused
from sapwood.shrinking import finding as sites
from sapwood.shrinking import fold, rules
from sapwood.shrinking import shrunk as shrinking
from sapwood.shrinking.cutting import cut, equal, resize
from sapwood.shrinking.rules import indexing, movement, normalisation, weights

cut_, sliced, attention = shrinking.cut_, cut.sliced, rules.RULES["scaled_dot_product_attention"]

MAY_GO = "what was worked out by hand may go"
TOUCHED = "NaN touches what the slots say, and nothing else"
LEFT = "what is left answers as the whole with the units gated"
NUMBERED = "a layer's numbers follow from its tensors"
REMEMBERED = "what an optimiser remembers is cut as its parameters"
COMPUTED = "what is left of a computed weight is as it was"
COMPACTED = "compacted, a network answers as before"
REFUSED = "a slot in the wrong place is refused"
REFUSED_TOO = "a slot in the wrong place is refused, behind weights that are 0 too"


# ---- networks ----


def square():
    return nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 3)), flat(5)


def normed():
    return nn.Sequential(conv(3, 8), nn.GroupNorm(4, 8), nn.SiLU(), conv(8, 3)), image()


class Attention(nn.Module):
    """Heads whose number is an attribute; two of queries for one of keys and values, or as many."""

    def __init__(self, of_keys):
        super().__init__()
        self.n_heads, self.shared = 4, of_keys < 4
        self.q, self.k, self.v = nn.Linear(5, 16), nn.Linear(5, 4 * of_keys), nn.Linear(5, 4 * of_keys)
        self.out = nn.Linear(16, 3)

    def forward(self, x):
        sizes = (-1, 4) if self.shared else (self.n_heads, -1)
        q, k, v = (of(x).view(*x.shape[:2], *sizes).transpose(1, 2) for of in (self.q, self.k, self.v))
        return self.out(F.scaled_dot_product_attention(q, k, v, enable_gqa=self.shared).transpose(1, 2).flatten(2))


def heads(of_keys):
    return Attention(of_keys), flat(5, 8).view(2, 4, 5)


def around_pixels():
    """Windows of channels, normed by buffers, each channel's pixels added up at others."""
    layers = {"a": conv(3, 6), "n": Frozen(6), "b": conv(3, 6), "c": conv(54, 4, 1)}

    def forward(of, x):
        h = of["n"](of["a"](x)).index_add(2, torch.arange(8).roll(1), of["b"](x))
        return of["c"](F.unfold(h, 3, padding=1).unflatten(-1, h.shape[2:]))

    return Written(forward, **layers), image()


def back_in_shape():
    def forward(of, x):
        h = of["a"](x).unflatten(0, (2, 2))
        return of["c"](F.relu(of["b"](h.flatten(0, 1)).reshape_as(h)))

    return Written(forward, a=nn.Linear(5, 6), b=nn.Linear(6, 6), c=nn.Linear(6, 3)), flat(5, 4)


# ---- laws ----


@contextmanager
def running():
    """What no longer runs, or is refused, breaks a law as well."""
    try:
        yield
    except AssertionError:
        raise
    except Exception as error:
        raise AssertionError(f"{type(error).__name__}: {error}") from error


def of_network(name, make, units):
    """The laws of a network of which so many units may go, worked out by hand."""

    def laws() -> Laws:
        model, example = make()
        model = zoo.settled(model)
        claims = {
            MAY_GO: partial(may_go, units),
            TOUCHED: touched,
            LEFT: left,
            NUMBERED: numbered,
            REMEMBERED: remembered,
        }
        return {f"shrinking {name}: {claim}": partial(law, model, example) for claim, law in claims.items()}

    return laws


def computed_laws() -> Laws:
    return {f"shrinking computed: {COMPUTED}": of_computed}


def folding_laws() -> Laws:
    return {f"shrinking constants: {COMPACTED}": compacted}


def proof_laws() -> Laws:
    refused = {REFUSED: 1.0, REFUSED_TOO: 0.0}
    return {f"shrinking proof: {claim}": partial(wrong_slot_refused, last) for claim, last in refused.items()}


def some(found):
    """Of every site half of the units stay, others of each."""
    generator = torch.Generator().manual_seed(3)
    return {site.name: torch.randperm(site.units, generator=generator) < (site.units + 1) // 2 for site in found}


@running()
def may_go(units, model, example):
    found = tuple(site.units for site in sites.sites(model, example))
    demand(found == units, f"{found} units, not {units}")


@running()
def touched(model, example):
    found = sites.sites(model, example)
    confirmed(model, example, found, some(found))


@running()
def left(model, example):
    found, small, _ = cut_out(model, example)
    _, answer = spoilt(model, example, gone_from(found, some(found), "makes"))
    alike(small(example), answer)


@running()
def numbered(model, example):
    _, small, _ = cut_out(model, example)
    for layer in (layer for layer in small.modules() if isinstance(layer, nn.Conv2d)):
        rows, columns = layer.weight.shape[:2]
        told = (layer.out_channels, layer.in_channels, layer.out_channels % layer.groups)
        demand(told == (rows, columns * layer.groups, 0), f"{rows} by {columns} filters: {layer}")


@running()
def remembered(model, example):
    """Of every parameter the parameter itself is remembered, and so it must be afterwards."""
    optimizer = SGD(model.parameters(), 0.1, momentum=0.9)
    for parameter in model.parameters():
        optimizer.state[parameter]["momentum_buffer"] = parameter.detach().clone()
    _, small, memory = cut_out(model, example, optimizer)
    for name, parameter in small.named_parameters():
        demand(torch.equal(memory.state[parameter]["momentum_buffer"], parameter), f"not that of {name}")


@running()
def of_computed():
    model = zoo.settled(nn.Sequential(nn.Linear(5, 6), nn.ReLU(), weight_norm(nn.Linear(6, 3))))
    found, small, _ = cut_out(model, flat(5))
    alike(small[2].weight, model[2].weight[:, some(found)[found[0].name]])


@running()
def compacted():
    """Constants of both signs go through a norm, and meet a filter without padding and one with."""
    model = zoo.settled(nn.Sequential(
        conv(3, 6), nn.BatchNorm2d(6), nn.Sigmoid(), nn.Conv2d(6, 5, 3), nn.Sigmoid(), conv(5, 4), nn.Flatten(),
        nn.Linear(4 * 36, 3),
    ))  # fmt: skip
    with torch.no_grad():
        for layer in (model[0], model[3]):
            layer.weight[:2] = 0
    with patch.object(shrinking, "prove", lambda *_, **__: 0.0):
        small = shrinking.compact(model, example=image()).model
    alike(small(image()), model(image()))


@running()
def wrong_slot_refused(last):
    """A shortcut around a branch whose answer counts `last` times, 0 as residual networks start."""
    model = zoo.settled(Written(
        lambda of, x: of["head"](x + of["last"] * of["b"](F.relu(of["a"](x)))),
        a=nn.Linear(5, 6), b=nn.Linear(6, 5), head=nn.Linear(5, 3), last=nn.Parameter(torch.ones(5)),
    ))  # fmt: skip
    torch.nn.init.constant_(model.bare["last"], last)
    (site,) = sites.sites(model, flat(5))
    slots = tuple(replace(s, unit_of=s.unit_of.roll(1)) if s.role == "reads" else s for s in site.slots)
    keep, wrong = {site.name: torch.arange(6) != 1}, replace(site, slots=slots)
    demand_refused(lambda: shrinking.shrink(model, keep, [wrong], example=flat(5)), "a slot shifted by one")


def cut_out(model, example, optimizer=None):
    found = sites.sites(model, example)
    result = shrinking.shrink(model, some(found), found, example=example, check=False, optimizer=optimizer)
    return found, result.model, result.optimizer


def alike(a, b):
    apart = float((a.detach() - b.detach()).abs().max())
    demand(apart < 1e-12, f"they differ by {apart:.1e}")


# ---- bugs ----


def other_dimension(tensor, dims):
    """Of as many rows as columns, those meant for the other are cut: every shape is right."""
    if len(dims) == 2 and len({int(stay.sum()) for stay in dims.values()}) == 1 == len(set(tensor.shape)):
        dims = {1 - dim: stay for dim, stay in dims.items()}
    return sliced(tensor, dims)


def variances_of_others(model, staying, memory=None):
    for name in [name for name in staying if name.endswith("running_var")]:
        staying = staying | {name: {0: staying[name][0].flip(0)}}
    cut_(model, staying, memory)


def channels_only(layer):
    rows, columns = layer.weight.shape[:2]
    layer.out_channels, layer.in_channels = rows, columns * layer.groups


def first_only(ties, call):
    return ties.now(call.plain(ties, call["self"])).expand(call.shape)


def shifted(ties, call):
    return ties.now(movement.joined(ties, call).roll(1, call["dim"]))


def one_after_another(ties, call):
    """Keys of heads 0, 1, 0, 1 for 0, 0, 1, 1."""
    more = call["query"].shape[-3] // call["key"].shape[-3]
    repeated = {name: ties.now(call[name].repeat(1, more, 1, 1)) for name in ("key", "value")}
    return attention(ties, replace(call, given={**call.given, **repeated, "enable_gqa": False}))


def in_turns(ties, call):
    """Windows of one pixel of all channels after another."""
    ids = indexing.unfolded(ties, call)
    return ties.now(ids.unflatten(1, (-1, 9)).transpose(1, 2).flatten(1, 2))


def first_of_all(ties, call):
    return call.parts()[0]


def viewed_only(ties, call):
    return ties.now(ties.now(call["self"]).reshape(call.shape))


def ruled(op, wrong):
    return partial(patch.dict, rules.RULES, {op: wrong})


def resized(kind, wrong):
    key = next(key for key in resize.RESIZE if kind in (key if isinstance(key, tuple) else (key,)))
    return partial(patch.dict, resize.RESIZE, {key: wrong})


NETWORKS = {
    ("residual", zoo.residual, (6, 5, 4, 8)): {TOUCHED: {"what is added up is not tied": ruled("add", first_only)}},
    ("concat", zoo.concat, (4, 5, 6)): {TOUCHED: {"what is concatenated lies one further": ruled("cat", shifted)}},
    ("group norm", normed, (4,)): {
        TOUCHED: {"channels of one group go one by one": ruled("group_norm", normalisation.by_channel)}
    },
    ("shared keys", partial(heads, 2), (2,)): {
        TOUCHED: {"heads share keys in another order": ruled("scaled_dot_product_attention", one_after_another)}
    },
    ("split", zoo.split, (4, 5)): {
        MAY_GO: {"equal parts are taken for unequal ones": instead(movement, "_equal_parts", lambda *_: False)}
    },
    ("heads", partial(heads, 4), (4, 4)): {
        LEFT: {"the number of heads stays as it was": instead(shrinking, "_attributes", lambda *_: {})}
    },
    ("around pixels", around_pixels, (6,)): {
        TOUCHED: {"windows lie in another order": ruled("im2col", in_turns)},
        MAY_GO: {
            "what is added at places is not tied": ruled("index_add", first_only),
            "statistics of a frozen norm are not tied": instead(weights, "number_by_number", first_of_all),
        },
    },
    ("back in shape", back_in_shape, (6,)): {
        MAY_GO: {"what has another's shape is not tied to it": ruled("reshape_as", viewed_only)}
    },
    ("square", square, (6, 6)): {
        LEFT: {"rows are cut for columns": instead(cut, "sliced", other_dimension)},
        REMEMBERED: {"momentum of units that have gone": instead(cut, "_cut_memory_", lambda *_: None)},
    },
    ("plain", zoo.plain, (6, 4, 5)): {
        LEFT: {"running variances of other channels": instead(shrinking, "cut_", variances_of_others)}
    },
    ("separable", zoo.separable, (6, 5)): {
        NUMBERED: {"the number of groups stays as it was": resized(nn.Conv2d, channels_only)}
    },
}
COMPUTING = {COMPUTED: {"norms shrink and scales do not grow": instead(cut, "rescale_", lambda *_: None)}}
FOLDING = {
    COMPACTED: {
        "constants of dead units forgotten": instead(fold, "_shifts", lambda *_: {}),
        "constants folded where zero padding cuts them off": instead(fold, "_blocked", lambda *_: ""),
    }
}
PROVING = {
    REFUSED: {
        "nothing is compared": instead(shrinking, "prove", lambda *_, **__: 0.0),
        "a difference as large as the answers is small": instead(equal, "MOST", 1.0),
    },
    REFUSED_TOO: {
        "weights are compared as they are, without noise": instead(equal, "stir_", lambda model, lent: model)
    },
}
MUTANTS = (
    *(
        mutant
        for (name, make, units), planted in NETWORKS.items()
        for mutant in bugs(f"shrinking {name}", of_network(name, make, units), planted)
    ),
    *bugs("shrinking computed", computed_laws, COMPUTING),
    *bugs("shrinking constants", folding_laws, FOLDING),
    *bugs("shrinking proof", proof_laws, PROVING),
)
