"""Bugs planted in the search for widths and depths: in what is drawn, mixed, expected, and in whose turn it is."""

from importlib import import_module
from unittest.mock import patch

import torch
from planted.mutant import bugs, instead
from planted.training import SAME_BITS
from residual import residual_task

from sapwood.checks import Laws, method, unit_gate
from sapwood.checks.law import demand
from sapwood.checks.tiny import seeded
from sapwood.gates import Interpolated, WidthChoice
from sapwood.methods import METHODS
from sapwood.methods.parts import searching
from sapwood.methods.parts.widths import removable
from sapwood.training.run import start

search = import_module("sapwood.methods.transformable_architecture_search")
interpolation = import_module("sapwood.gates.interpolated")
choose = WidthChoice.choose
OPTIONS = {"rate": 0.5, "price": 20.0, "teach_epochs": 0, "search_epochs": 1, "epochs": 1}


def chosen(preferences=(1.0, 2.0, 0.0)):
    with seeded(0):
        gate = WidthChoice(4, sizes=(1, 2, 4), temperature=1e-3).double()
    gate.preference.data = torch.tensor(preferences, dtype=torch.float64)
    return gate


def _frequency():
    gate = chosen()
    with seeded(0):
        first = torch.tensor([gate.choose()[0][0] for _ in range(1_000)])
    seen, told = torch.bincount(first, minlength=3) / 1_000, gate.preference.softmax(0)
    demand(torch.allclose(seen.double(), told, atol=0.065), f"drawn {seen.tolist()}, {told.tolist()} probable")


def _different():
    with seeded(0):
        drawn = [chosen().choose()[0] for _ in range(100)]
    demand(all(len({*index}) == len(index) == 2 for index in drawn), "a size was drawn twice in one pass")


def choosing() -> Laws:
    """What a choice draws."""
    return {"width choice: near temperature 0 sizes are as frequent as probable": _frequency,
            "width choice: two different sizes a pass": _different}  # fmt: skip


def _searched():
    run = start(residual_task(3), 0)
    found = searching.space(run, removable(run), True)
    with seeded(5):
        for gate in found.gated.by_site().values():
            gate.preference.data = 1e6 * torch.rand(len(gate.sizes)).double()
            gate.preference.data[-1] = 0
    return run, found


def _costs():
    run, found = _searched()
    expected, counted = found.cost(found.gated.open()).item(), found.cost(found.found()).item()
    search.rebuild(run, found)
    built = run.size().macs
    demand(expected == counted == built, f"{expected} expected, {counted} counted, {built} built")


def _evaluated():
    run, found = _searched()
    for tensor in found.gated.norms.buffers():
        tensor.add_(1 if tensor.is_floating_point() else 0)
    baked, _ = found.gated.eval().bake()
    with torch.no_grad():
        x = run.task.data.test.inputs
        apart = float((found.gated(x) - baked.eval()(x)).abs().max())
    demand(apart < 1e-9, f"baked, it answers otherwise, by {apart:.1e}")


def _stretched():
    x = torch.arange(3.0).double().view(1, 3, 1, 1)
    seen = interpolation.interpolated(x, 5, 1).flatten()
    pooled = torch.nn.functional.adaptive_avg_pool3d(x, (5, 1, 1)).flatten()
    demand(torch.allclose(seen, pooled), f"{seen.tolist()} is not adaptive pooling, {pooled.tolist()}")


def _in_turn():
    run, last = start(residual_task(3), 0), {}
    for now in METHODS["transformable_architecture_search"](run, **OPTIONS | {"epochs": 0}):
        state = {name: p.detach().clone() for name, p in run.model.named_parameters()}
        kinds = {name.startswith("gates.") for name, p in state.items() if last and not torch.equal(p, last[name])}
        demand(not last or kinds == {now.step % 2 == 0}, f"step {now.step} moved {kinds}, True: preferences")
        last = state


def space_laws() -> Laws:
    """What the search says of its shapes, and how it takes turns."""
    return {
        "search: sure of a shape, expected cost is counted cost is built cost": _costs,
        "search: baked, the searched network answers the same": _evaluated,
        "search: channels are interpolated as adaptive pooling does": _stretched,
        "search: weights and preferences move in turn": _in_turn,
    }


def method_laws() -> Laws:
    """Widths of three layers, three steps."""
    return method.laws("tas", METHODS["transformable_architecture_search"], **OPTIONS | {"epochs": 0})


def raw(self):
    """The sizes of the largest preferences, without noise."""
    index = self.preference.topk(2).indices if self.training else self.preference.topk(1).indices
    return index.tolist(), self.preference[index].softmax(0)


def twice(self):
    index, weights = choose(self)
    return [index[0]] * len(index), weights


def as_deep_as_ever(self, open):
    """Blocks that are left out cost as before."""
    return self._costs(open)[0]


def last_kept(self):
    return torch.ones(self.units, dtype=torch.bool)


def nearest(x, to, axis):
    if x.shape[axis] == to:
        return x
    return x.index_select(axis, torch.arange(to) * x.shape[axis] // to)


def own_values(self, model):
    return model


def together(self, run, batch, update=searching.Search.__call__):
    """Both at every step, on the batch of whoever's turn it is."""
    outputs, loss = update(self, run, batch)
    searching.backward(run, run.task.forward(run.forward, batch).square().mean(), run.model.gates.parameters())
    return outputs, loss


def forgetful(self, run, batch, update=searching.Search.__call__):
    """The temperature falls by the updates made in this life."""
    gated = self.space.gated
    gated.made = getattr(gated, "made", -1) + 1
    with patch.object(run, "begun", run.step - gated.made):
        return update(self, run, batch)


MUTANTS = (
    *bugs(
        "width choice",
        choosing,
        {
            "near temperature 0 sizes are as frequent as probable": {
                "sizes drawn without noise": instead(WidthChoice, "choose", raw),
            },
            "two different sizes a pass": {
                "one size drawn twice": instead(WidthChoice, "choose", twice),
            },
        },
    ),
    *bugs(
        "unit gate width_choice",
        lambda: unit_gate.laws("width_choice", WidthChoice),
        {
            "values and what is open are from 0 to 1, one for each unit; exactly what goes is 0": {
                "a choice of widths that keeps all units": instead(WidthChoice, "keep", last_kept),
            },
        },
    ),
    *bugs(
        "search",
        space_laws,
        {
            "sure of a shape, expected cost is counted cost is built cost": {
                "blocks that are left out cost as before": instead(searching.Costing, "__call__", as_deep_as_ever),
            },
            "baked, the searched network answers the same": {
                "the network's own norms baked": instead(Interpolated, "_settled", own_values),
            },
            "channels are interpolated as adaptive pooling does": {
                "the nearest channel taken": instead(interpolation, "interpolated", nearest),
            },
            "weights and preferences move in turn": {
                "preferences moved at every step": instead(searching.Search, "__call__", together),
            },
        },
    ),
    *bugs(
        "method tas",
        method_laws,
        {
            SAME_BITS: {
                "a temperature that begins anew after a restart": instead(searching.Search, "__call__", forgetful),
            },
        },
    ),
)
