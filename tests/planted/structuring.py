"""Bugs planted in factors on structures: what moves them, where they sit, what is built without those at 0."""

from contextlib import contextmanager
from copy import deepcopy
from functools import cache
from importlib import import_module
from unittest.mock import patch

import torch
from planted.mutant import bugs, instead
from residual import Residual, residual_task
from torch import nn

from sapwood import shrink, start
from sapwood.checks import Laws, method
from sapwood.checks.law import demand
from sapwood.checks.tiny import tiny_samples
from sapwood.gates import Factor, Gated
from sapwood.gates.point import Point
from sapwood.methods import METHODS
from sapwood.methods.parts import affordable
from sapwood.methods.parts import structures as parts
from sapwood.scoring.modes import evaluating
from sapwood.shrinking.cutting import cut
from sapwood.shrinking.tracing.anatomy import Anatomy
from sapwood.training import proximal
from sapwood.training.proximal import ProximalNesterov
from sapwood.training.run import Run

selection = import_module("sapwood.methods.sparse_structure_selection")
make, bake, step, remember, blocks = Factor.__init__, Gated.bake, ProximalNesterov.step, Run.remember, parts._blocks
OPTIONS = {"strength": 0.35, "epochs": 1, "settle": 0.0, "tune": 1, "task": residual_task(3, batch_size=24, lr=0.5)}

MOVED = "factors move by the accelerated proximal step, and by nothing else"
BUILT = "what is built answers as the network with factors"
PLACED = "a block has one factor, which scales all that it adds and nothing else"
RESTING = "with a budget, factors rest as soon as what is not at 0 costs no more"
CHOSEN = "with a budget, what is at 0 goes, and of the others the smallest, as few as will do"
GROUPS = "without a group, its channels are gone on both sides of the convolution"


def life_laws() -> Laws:
    """Three blocks, of which two go after two steps."""
    return method.laws("sparse_structure_selection", METHODS["sparse_structure_selection"], **OPTIONS)


def laws() -> Laws:
    """Of the factors, and of what becomes of them."""
    bodies = {MOVED: _moved, BUILT: _built, PLACED: _placed, GROUPS: _in_groups, RESTING: _resting, CHOSEN: _chosen}
    return {f"structures: {law}": body for law, body in bodies.items()}


@contextmanager
def _ending(without):
    """Lives of the method end with what `without` is given."""
    with (
        patch.object(selection, "without", without),
        patch.object(selection, "tuned", lambda run, **options: iter(())),
    ):
        yield


def _moved():
    """Weight decay is large, and the loss has no slope by the factors."""
    task, seen = residual_task(lr=0.1, weight_decay=0.5), []
    with _ending(lambda *_: None):
        run = start(task)
        run.loss = lambda model, batch, outputs: outputs.sum() * 0
        for _ in METHODS["sparse_structure_selection"](run, strength=1.0, momentum=0.5, epochs=1, settle=0.0):
            seen.append(next(iter(run.model.gates.values())).value.item())
    value, m, wanted = 1.0, 0.0, []
    for _ in range(3):
        z = max(0.0, value - 0.1)
        m = z - value + 0.5 * m
        value = max(0.0, z + 0.5 * m)
        wanted.append(value)
    demand(torch.allclose(torch.tensor(seen), torch.tensor(wanted), atol=1e-6), f"they are {seen}, not {wanted}")


def _built():
    """Some factors are at 0, the others between 0 and 1."""
    task, answers = residual_task(3), []
    inputs, without = task.data.test.inputs, selection.without

    def watched(run, whole, gated, found, few):
        with torch.no_grad():
            for number, gate in enumerate(gated.gates.values()):
                gate.value.fill_(number / 4)
        answers.append(_answers(gated, inputs))
        without(run, whole, gated, found, few)

    with _ending(watched):
        run = start(task)
        list(METHODS["sparse_structure_selection"](run, strength=0.01, epochs=1))
    apart = float((_answers(run.model, inputs) - answers[0]).abs().max())
    demand(apart < 1e-9, f"the answers are {apart:.1e} apart")


def _answers(model, inputs):
    with evaluating(model), torch.no_grad():
        return model(inputs)


class Shortcut(Residual):
    """One block more, with a layer on its shortcut."""

    def __init__(self):
        super().__init__(1)
        self.a, self.b, self.c = (nn.Linear(6, 6).double() for _ in range(3))

    def forward(self, x):
        x = self.blocks(self.stem(x))
        return self.head(self.c(x) + self.b(self.a(x).relu()))


def _placed():
    """Twice a factor is twice a summand, here that of the first block, seen by what the first block gives."""
    anatomy = Anatomy(Shortcut(), tiny_samples(4).inputs)
    for parameter in anatomy.model.parameters():
        nn.init.uniform_(parameter, 0.1, 1)
    found = parts.structures("blocks", anatomy)
    demand(list(found.places) == ["blocks.0.bn2", "b"], f"factors are on {list(found.places)}")
    gates = {name: Factor(units).double() for name, units in found.units.items()}
    gated, seen = Gated(anatomy.model, gates, found.places).train(), []
    summand = gated.model.blocks[0].bn2
    hook = summand.register_forward_hook(lambda module, inputs, y: seen.append(y.detach()))
    for value in (1.0, 2.0):
        gates["blocks.0.bn2"].value.data.fill_(value)
        gated(anatomy.example)
    hook.remove()
    demand(torch.allclose(2 * seen[0], seen[1]), "with twice the factor, it does not add twice as much")


def _in_groups():
    layers = nn.Conv2d(1, 6, 1), nn.ReLU(), nn.Conv2d(6, 6, 3, groups=3), nn.ReLU(), nn.Conv2d(6, 2, 1)
    model, images = nn.Sequential(*layers).double().eval(), torch.randn(2, 1, 4, 4, dtype=torch.float64)
    anatomy = Anatomy(model, images)
    [site] = parts.structures("groups", anatomy).sites
    try:
        small = shrink(anatomy, {site.name: torch.tensor([True, False, True])}, [site]).model
    except Exception as error:
        raise AssertionError(f"no group can go: {error}") from error
    shape = small[2].groups, small[2].in_channels, small[2].out_channels
    demand(shape == (2, 4, 4), f"groups, inputs and outputs are {shape}")


@cache
def _three_blocks():
    return parts.structures("blocks", Anatomy(Residual(3), tiny_samples(4).inputs))


def _resting():
    """Each step draws a tenth; the first of three reaches 0 after two more."""
    with _ending(lambda *_: None), patch.object(selection, "structures", lambda *_: _three_blocks()):
        run = start(residual_task(3, lr=0.1))
        run.loss = lambda model, batch, outputs: outputs.sum() * 0
        options = {"strength": 1.0, "momentum": 0.0, "epochs": 3, "settle": 0.0, "macs": 0.8}
        for number, _ in enumerate(METHODS["sparse_structure_selection"](run, **options)):
            if number == 0:
                for at, gate in enumerate(run.model.gates.values()):
                    gate.value.data.fill_(0.15 + 0.4 * at)
    values = [gate.value.item() for gate in run.model.gates.values()]
    demand(torch.allclose(torch.tensor(values), torch.tensor([0.0, 0.35, 0.75])), f"they end at {values}")


def _chosen():
    """One block less is enough."""
    run, found = start(residual_task(3)), _three_blocks()
    few = affordable.Affordable(run, "blocks", found, 0.8)
    for values, stay in (((0.9, 0.2, 0.5), [1, 0, 1]), ((0.0, 0.3, 0.2), [0, 1, 1]), ((0.0, 0.0, 2.0), [0, 0, 1])):
        gates = {name: Factor(units).double() for name, units in found.units.items()}
        for gate, value in zip(gates.values(), values, strict=True):
            gate.value.data.fill_(value)
        kept = [int(each) for each in few.chosen(Gated(run.model, gates, found.places)).values()]
        demand(kept == stay, f"of {values} {kept} stay")


def never(few, gated):
    return False


def all_that_fit(few, gated):
    """As many stay as may, whether they are at 0 or not."""
    values = {name: gate.draw(None).detach() for name, gate in gated.by_site().items()}
    return affordable.select.within(values, few._work, few.most)


def largest_first(few, gated):
    values = {name: -gate.draw(None).detach() for name, gate in gated.by_site().items()}
    larger = affordable.select.within(values, few._work, few.most)
    return gated.keep() if few.reached(gated) else {name: kept & larger[name] for name, kept in gated.keep().items()}


def without_threshold(x, threshold):
    return x


def as_momentum_alone(w, memory, group):
    """The threshold comes after momentum, as of SGD with a step behind it."""
    m = memory.setdefault("momentum_buffer", torch.zeros_like(w))
    m.mul_(group["momentum"]).add_(w.grad)
    w.copy_(proximal.soft(w - group["lr"] * m, group["lr"] * group["strength"]).clamp(min=0))


def decaying(self, closure=None):
    for group in self.param_groups:
        for value in group["params"]:
            value.data.mul_(1 - 0.5 * group["lr"])
    return step(self, closure)


def unscaled(self):
    _, keep = bake(self)
    return deepcopy(self.model), keep


def before_the_norm(anatomy):
    """On the layer in front, whose scale the norm takes out."""
    for name, points in blocks(anatomy):
        yield name, tuple(Point(p.tensor.replace("bn2", "fc2"), p.dim, p.unit_of[:1].expand(6)) for p in points)


def weights_alone(anatomy):
    """Where a factor is 0, a branch still adds its biases."""
    for name, points in blocks(anatomy):
        yield name, tuple(p for p in points if not p.tensor.endswith("bias"))


def all_summands(anatomy):
    flow = parts.Flow(anatomy.graph)
    for each in parts.summands(anatomy.graph):
        scaled = parts._last(anatomy, flow, each.node)
        yield each.branch.name, tuple(Point(name, 0, torch.zeros(size, dtype=torch.int64)) for name, size in scaled)


def zeros_anew(run, name, compute):
    return compute() if name == "not 0" else remember(run, name, compute)


MUTANTS = (
    *bugs("structures", laws, {
        MOVED: {
            "factors are not drawn to 0": instead(proximal, "soft", without_threshold),
            "the threshold comes behind momentum": instead(proximal, "_move", as_momentum_alone),
            "weight decay on factors": instead(ProximalNesterov, "step", decaying),
        },
        BUILT: {"factors are left out of the weights": instead(Gated, "bake", unscaled)},
        PLACED: {
            "a norm takes the factor out again": instead(parts, "_blocks", before_the_norm),
            "biases of a branch have no factor": instead(parts, "_blocks", weights_alone),
            "shortcuts have factors too": instead(parts, "_blocks", all_summands),
        },
        RESTING: {"factors are drawn on when enough are at 0": instead(affordable.Affordable, "reached", never)},
        CHOSEN: {
            "what is at 0 stays where fewer will do": instead(affordable.Affordable, "chosen", all_that_fit),
            "the largest factors go": instead(affordable.Affordable, "chosen", largest_first),
        },
        GROUPS: {"a convolution is not told how many groups are left": instead(cut, "regroup_", lambda *_: None)},
    }),
    *bugs("method sparse_structure_selection", life_laws, {
        "interrupted just after rebuilding and resumed: the same bits": {
            "which factors are 0 is asked of the untrained network": instead(Run, "remember", zeros_anew),
        },
    }),
)  # fmt: skip
