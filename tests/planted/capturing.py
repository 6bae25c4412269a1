"""Bugs planted in how a model is captured: regions, sizes that depend on data, keywords, training, rules that fail."""

from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from unittest.mock import patch

import torch
import torch.nn.functional as F
from planted.mutant import bugs, instead
from planted.shrinking import running, some
from shrinking.zoo import Written, flat, settled
from torch import nn
from torch.optim import SGD

from sapwood.checks.law import Laws, demand, demand_refused
from sapwood.shrinking import finding as sites
from sapwood.shrinking import rules
from sapwood.shrinking import shrunk as shrinking
from sapwood.shrinking.rules.ids import Ties
from sapwood.shrinking.rules.marks import Mark
from sapwood.shrinking.rules.values import nobody
from sapwood.shrinking.shrunk import shrink
from sapwood.shrinking.tracing import anatomy, calls, duplicate, graph, plain

LIBRARY = torch.library.Library("planted", "FRAGMENT")
LIBRARY.define("hardswish(Tensor x) -> Tensor")
LIBRARY.impl("hardswish", lambda x: x.flip(-1), "CompositeExplicitAutograd")

MAY_GO = "what may go is what was worked out by hand"
STAYS = "what no rule can follow stays, and is named"
TRAINS = "the smaller network trains where the whole does"
REFUSED = "a smaller network that does not train is refused"
STEADY = "gates for training only take no steadiness away"
SHARED = "what a loss trains beside the model stays the same tensor"
OWN = "copies share what cannot be copied, and nothing else"
LEFT = "the model holds what it held"


def between(how, **layers):
    def forward(of, x):
        return of["head"](F.relu(of["b"](how(of, F.relu(of["a"](x))))))

    return settled(Written(forward, a=nn.Linear(5, 6), b=nn.Linear(6, 4), head=nn.Linear(4, 3), **layers))


def in_a_region(of, h):
    with torch.autocast("cpu", enabled=False):
        return h * 2


def rows_by_data():
    def forward(of, x):
        return of["head"](F.relu(of["b"](F.relu(of["a"](x))[x[:, 0] > -99])))

    return settled(Written(forward, a=nn.Linear(5, 6), b=nn.Linear(6, 4), head=nn.Linear(4, 3)))


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right, self.out = nn.Linear(5, 6), nn.Linear(4, 6), nn.Linear(6, 3)
        self.side = nn.Linear(6, 2)
        self.calls, self.log = 0, []

    def forward(self, left, right):
        self.calls += 1
        self.log.append(self.calls)
        left = torch.relu(self.left(left))
        y = self.out(torch.tanh(left + torch.sigmoid(self.right(right))))
        return (y, self.side(left)) if self.training else y


class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.out = nn.Linear(5, 6), nn.Linear(6, 3)

    def forward(self, x):
        h = self.a(x)
        return self.out(h * torch.sigmoid(x[:, :1]) if self.training else h)


GIVEN = {"right": flat(4, 2), "left": flat(5, 2)}


# ---- laws ----


@running()
def may_go(units, make, example):
    found = tuple(site.units for site in sites.sites(make(), example))
    demand(found == units, f"{found} units, not {units}")


@running()
def stays():
    """The operator between has a rule that fails in the runs which come last."""

    def failing(ties, call):
        if ties.looking:
            return ties.now(call.ids(ties))
        raise IndexError("list index out of range")

    model = between(lambda of, h: (h[:, None] @ h[..., None]).flatten(1) + torch.tanh(of["c"](h)), c=nn.Linear(6, 6))
    with patch.dict(rules.RULES, {"tanh": failing}):
        found = sites.couplings(model, flat(5))
    demand(any("aten.tanh is more than its rule" in pin.because for pin in found.pinned), str(found.pinned))


@running()
def trains():
    model = settled(Two())
    found = sites.sites(model, GIVEN)
    small = shrink(model, some(found), found, example=GIVEN).model
    small.train()(**GIVEN)


@running()
def refused():
    """Sites of the whole without its side head do not know of it."""
    model = settled(Two())
    with patch.object(anatomy, "with_training", lambda model, example, copies: (graph.exported(model, example), None)):
        found = sites.sites(model, GIVEN)
    demand_refused(lambda: shrink(model, some(found), found, example=GIVEN), "a head for training of the old width")


@running()
def steady():
    (site,) = sites.sites(settled(Gated()), flat(5))
    demand(bool(site.steady.all()), f"steady: {site.steady.tolist()}")


@running()
def shared():
    model, weight = settled(Gated()), nn.Parameter(torch.ones(3))
    found = sites.sites(model, flat(5))
    memory = shrink(model, some(found), found, example=flat(5), optimizer=SGD([*model.parameters(), weight], 0.1))
    demand(any(p is weight for p in memory.optimizer.param_groups[0]["params"]), "the loss's weight was copied")


@running()
def own():
    model = settled(Gated())
    model.held = [model.a, (n for n in range(3)), words := ["word"]]
    copy = duplicate.duplicate(model, {})
    layer, generator, list_ = copy.held
    demand(layer is copy.a, "a layer of the copy is the model's")
    demand(generator is model.held[1] and list_ is not words and list_ == words, "shared or copied wrongly")


@running()
def left():
    model = settled(Two())
    log = model.log
    sites.sites(model, GIVEN)
    demand(model.calls == 0 and model.log is log and not log, f"{model.calls} calls, log {model.log}")


def laws() -> Laws:
    units = {
        "region": ((6, 4), partial(between, in_a_region), flat(5)),
        "keywords": ((6,), lambda: settled(Two()), GIVEN),
        "rows": ((6, 4), rows_by_data, flat(5)),
        "alike": ((4,), partial(between, lambda of, h: torch.ops.planted.hardswish(h)), flat(5)),
    }
    claims = {f"{MAY_GO}, {name}": partial(may_go, *case) for name, case in units.items()}
    claims |= {STAYS: stays, TRAINS: trains, REFUSED: refused, STEADY: steady, SHARED: shared, OWN: own, LEFT: left}
    return {f"capturing: {claim}": law for claim, law in claims.items()}


# ---- bugs ----


def in_the_order_given(model, inputs):
    """By position, whatever the names."""
    return tuple(inputs[0].values()) if isinstance(inputs[0], dict) else inputs, {}


def evaluation_only(model, example, copies=None):
    return graph.exported(model, example), None


def let_go(ties, call, text):
    outputs = tuple(nobody(shape) for shape in call.shapes)
    return outputs if len(outputs) != 1 else outputs[0]


def mixed(ties, ids):
    ties._marks[Mark.DEPENDS_ON_OTHERS][torch.unique(ids)] = 1


def all_by_reference(thing, memo):
    """Whatever fails, what the modules hold is shared as a whole."""
    return deepcopy(thing, dict(memo) | {id(value): value for _, _, value in duplicate._held(thing)})


@contextmanager
def as_exported(model):
    yield


PLANTED = {
    f"{MAY_GO}, region": {"regions are code of their own": instead(plain, "REGIONS", ())},
    f"{MAY_GO}, keywords": {"keywords go in by position": instead(graph, "arguments", in_the_order_given)},
    f"{MAY_GO}, rows": {"sizes that depend on data stay symbols": instead(graph, "with_sizes", lambda *_: None)},
    f"{MAY_GO}, alike": {"operators of any library have torch's rules": instead(calls, "TORCHS", ("aten", "planted"))},
    STAYS: {"what no rule can follow may go": instead(graph, "pinned", let_go)},
    TRAINS: {"what training runs is not looked at": instead(anatomy, "with_training", evaluation_only)},
    REFUSED: {"nothing is run in training mode": instead(shrinking, "refuse_untrainable", lambda small, run: None)},
    STEADY: {"gates in training count as data": instead(Ties, "mix", mixed)},
    SHARED: {"all that an optimiser trains is copied": instead(shrinking, "_others", lambda model, optimizer: {})},
    OWN: {"what holds something that cannot be copied is shared": instead(duplicate, "duplicate", all_by_reference)},
    LEFT: {"forward's side effects stay": instead(graph, "_holding_the_same", as_exported)},
}  # fmt: skip
MUTANTS = bugs("capturing", laws, PLANTED)
