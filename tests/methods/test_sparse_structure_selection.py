"""Sparse structure selection: what moves the factors, where they sit, what goes; from the method's sheet."""

from dataclasses import replace
from functools import cache, partial
from importlib import import_module
from itertools import pairwise

import pytest
import torch
from residual import Residual, residual_task
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD

from sapwood import InputError, export, shrink, sites, start
from sapwood.checks import tiny_task
from sapwood.checks.tiny import tiny_conv_task, tiny_samples
from sapwood.methods import METHODS
from sapwood.methods.parts.affordable import Affordable, work
from sapwood.methods.parts.structures import structures
from sapwood.models.resnet_cifar import resnet_cifar
from sapwood.scoring.modes import evaluating
from sapwood.shrinking.skipped import skipped
from sapwood.shrinking.tracing.anatomy import Anatomy
from sapwood.tasks import TASK_VERSIONS, TASKS
from sapwood.trials.execution import run_into
from sapwood.trials.rows import read_rows
from sapwood.trials.trial import Trial

selection = import_module("sapwood.methods.sparse_structure_selection")
method = METHODS["sparse_structure_selection"]
TASK = partial(residual_task, 4, batch_size=48, lr=0.05)
known = cache(lambda blocks: structures("blocks", Anatomy(Residual(blocks), tiny_samples(4).inputs)))


@pytest.fixture
def gates_alone(monkeypatch):
    """Lives of the residual networks that end with factors, and take no time to find where these sit and to rebuild."""
    monkeypatch.setattr(selection, "structures", lambda kind, anatomy: known(len(anatomy.model.blocks)))
    monkeypatch.setattr(selection, "without", lambda *_: None)
    monkeypatch.setattr(selection, "tuned", lambda *_, **options: iter(()))


def factors(run):
    """The factor of every structure, in order."""
    return torch.cat([gate.value.detach().clone() for gate in run.model.gates.values()])


def selected(task, seed=0, **options):
    """The factors after every step, with their gradients; and the run at its end."""
    run, seen = start(task, seed), []
    for now in method(run, **options):
        if now.phase == 0:
            slopes = [gate.value.grad for gate in run.model.gates.values()]
            seen.append((factors(run), slopes))
    return run, seen


def test_factors_move_by_the_accelerated_proximal_step(gates_alone):
    """Worked beside it, step by step; weight decay, which is large here, is not on them."""
    _, seen = selected(residual_task(lr=0.1, weight_decay=0.5), strength=0.7, momentum=0.6, epochs=3, settle=0.0)
    value, m = torch.ones(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    for now, slopes in seen:
        z = value - 0.1 * torch.cat(slopes)
        z = z.sign() * (z.abs() - 0.1 * 0.7).clamp(min=0)
        m = z - value + 0.6 * m
        value = (z + 0.6 * m).clamp(min=0)
        assert torch.allclose(now, value, rtol=1e-12, atol=1e-15)
    assert len(seen) == 9
    assert not bool(value.all())


def test_weights_train_as_the_task_says_times_their_factors(gates_alone):
    """The first step: all factors are 1, so it is the step of the network without factors."""
    plain, gated = start(residual_task()), start(residual_task())
    next(METHODS["dense"](plain, epochs=1))
    next(method(gated, epochs=1))
    pairs = zip(plain.model.parameters(), gated.model.model.parameters(), strict=True)
    assert all(torch.allclose(one, other, rtol=1e-12) for one, other in pairs)


def test_the_threshold_falls_with_the_learning_rate(gates_alone):
    """η γ, at a loss without slopes: one factor loses γ times the sum of the rates, without momentum."""
    task = replace(residual_task(), course=lambda over: 1.0 if over < 0.5 else 0.1, loss=lambda m, b, y: y.sum() * 0)
    _, seen = selected(task, strength=0.5, momentum=0.0, epochs=2, settle=0.0)
    assert [float(now[0]) for now, _ in seen] == pytest.approx([0.95, 0.9, 0.85, 0.845, 0.84, 0.835])


def test_a_strength_makes_exact_zeros_and_the_stronger_the_fewer_blocks(gates_alone):
    """The sheet's first and third check."""
    kept = [int((selected(TASK(), strength=s, epochs=40)[1][-1][0] > 0).sum()) for s in (0.0, 0.1, 0.2, 0.5)]
    assert kept == sorted(kept, reverse=True)
    assert kept[0] == 4
    assert kept[-1] == 0
    assert 0 < kept[2] < 4


def test_an_l1_penalty_under_sgd_makes_none(gates_alone):
    """The sheet's fourth check, at the strength that leaves no block above."""
    task = TASK()
    run = start(task)
    next(method(run, strength=0.0, epochs=1))
    values = [gate.value for gate in run.model.gates.values()]
    step, batch, seen = SGD(run.model.parameters(), lr=0.05, momentum=0.9), task.data.train, []
    for _ in range(60):
        step.zero_grad()
        loss = F.cross_entropy(run.model(batch.inputs), batch.targets)
        (loss + 0.5 * sum(value.abs().sum() for value in values)).backward()
        step.step()
        seen.append(factors(run).abs().min().item())
    assert max(seen[-10:]) < 0.1, "they are drawn there"
    assert 0.0 not in seen


def test_factors_rest_in_the_end(gates_alone):
    """Momentum lifts factors from 0 at any moment, until they rest."""
    lifted = {}
    for settle in (0.0, 0.5):
        task = residual_task(4, batch_size=24, lr=0.1)
        seen = [now for now, _ in selected(task, strength=0.05, epochs=30, settle=settle)[1]]
        lifted[settle] = any(bool(((before == 0) & (after > 0)).any()) for before, after in pairwise(seen[29:]))
        assert torch.equal(seen[29], seen[-1]) == (settle == 0.5)
    assert lifted == {0.0: True, 0.5: False}


def answers(model, inputs):
    with evaluating(model), torch.no_grad():
        return model(inputs)


@pytest.mark.parametrize(
    ("kind", "task"),
    [
        ("blocks", residual_task(3)),
        ("channels", residual_task(1)),
        ("groups", replace(tiny_conv_task(), model=lambda: Grouped().double())),
    ],
)
def test_what_is_built_answers_as_the_network_with_factors(kind, task, monkeypatch):
    """The sheet's second check: nothing changes by removing structures at 0, and the others' factors are in weights."""
    without, seen = selection.without, {}

    def watched(run, whole, gated, found, few):
        values = torch.arange(sum(found.units.values()), dtype=torch.float64) % 3 / 1.5
        with torch.no_grad():
            for gate, mine in zip(gated.gates.values(), values.split([*found.units.values()]), strict=True):
                gate.value.copy_(mine)
        seen.update(answers=answers(gated, task.data.test.inputs), keep=gated.keep())
        without(run, whole, gated, found, few)

    monkeypatch.setattr(selection, "without", watched)
    run, _ = selected(task, kind=kind, epochs=2)
    assert torch.allclose(answers(run.model, task.data.test.inputs), seen["answers"], rtol=1e-9, atol=1e-11)
    assert run.notes["zeros"] == sum(int((~kept).sum()) for kept in seen["keep"].values()) > 0
    assert run.notes["spared"] == 0
    assert run.notes["macs_left"] == run.size().macs / run.reference.macs < 1
    gone = [name for name, (zero, _) in skipped(run.model).items() if zero]
    assert gone == ([name for name, kept in seen["keep"].items() if not kept] if kind == "blocks" else [])


def test_one_unit_of_each_layer_stays():
    run, seen = selected(tiny_conv_task(), kind="channels", strength=5.0, epochs=2)
    assert not bool(seen[-1][0].any())
    assert [len(layer.weight) for layer in run.model if hasattr(layer, "weight")] == [1, 1, 1, 1, 1, 3]
    assert run.notes["spared"] == 3
    assert run.notes["zeros"] == 18


def test_all_blocks_may_go():
    run, _ = selected(residual_task(), strength=5.0, epochs=2, tune=1)
    assert [name for name, _ in run.model.named_parameters()] == [
        "stem.weight",
        "stem.bias",
        "head.weight",
        "head.bias",
    ]
    assert run.notes["spared"] == 0
    assert run.step == 9


class Before(nn.Module):
    """Norms before the layers, as in the paper's networks; a branch that two norms read, a shortcut with a weight."""

    def __init__(self):
        super().__init__()
        self.bn1, self.fc1 = nn.BatchNorm1d(6), nn.Linear(6, 5)
        self.bn2, self.fc2 = nn.BatchNorm1d(5), nn.Linear(5, 6)
        self.bn3, self.fc3, self.fc4, self.short = nn.BatchNorm1d(6), nn.Linear(6, 4), nn.Linear(4, 6), nn.Linear(6, 6)
        self.same, self.head = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        x = x + self.fc2(self.bn2(self.fc1(self.bn1(x).relu())).relu())
        y = self.bn3(x)
        x = self.short(y) + self.fc4(self.fc3(y).relu())
        x = x + self.same(x)
        x = x + self.same(x)
        return self.head(x + self.head(x).sigmoid().sum(1, keepdim=True))


def places(model, kind, example):
    found = structures(kind, Anatomy(model, example))
    return {name: [point.tensor for point in points] for name, points in found.places.items()}


def test_where_factors_of_blocks_sit():
    """Behind the last norm, which would undo them; else behind what feeds the sum. Not on the shortcut, nor on layers
    that run twice, where one factor would be two structures'.
    """
    x = torch.randn(4, 6, dtype=torch.float64)
    assert places(Before().double(), "blocks", x) == {
        "fc2": ["fc2.weight", "fc2.bias"],
        "fc4": ["fc4.weight", "fc4.bias"],
    }
    assert places(Residual(), "blocks", x) == {
        f"blocks.{n}.bn2": [f"blocks.{n}.bn2.weight", f"blocks.{n}.bn2.bias"] for n in (0, 1)
    }


def test_blocks_of_two_convolutions_have_factors_too():
    """In the authors' released network only those of three had: the others' were ignored."""
    images = torch.randn(2, 3, 8, 8)
    found = structures("blocks", Anatomy(resnet_cifar(14, width=4), images))
    assert list(found.places) == [f"layer{stage}.{block}.bn2" for stage in (1, 2, 3) for block in (0, 1)]
    assert set(found.units.values()) == {1}


class Grouped(nn.Module):
    """A convolution in three groups of two channels, between convolutions over all."""

    def __init__(self):
        super().__init__()
        self.a, self.bn = nn.Conv2d(1, 6, 1), nn.BatchNorm2d(6)
        self.b, self.norm = nn.Conv2d(6, 12, 3, padding=1, groups=3), nn.BatchNorm2d(12)
        self.c, self.head = nn.Conv2d(12, 4, 1), nn.Linear(64, 3)

    def forward(self, x):
        y = self.norm(self.b(self.bn(self.a(x)).relu())).relu()
        return self.head(self.c(y).relu().flatten(1))


def test_a_group_is_what_one_group_reads_and_makes():
    images = torch.randn(2, 1, 4, 4)
    found = structures("groups", Anatomy(Grouped(), images))
    assert found.units == {"b": 3}
    assert [point.tensor for point in found.places["b"]] == ["norm.weight", "norm.bias"]
    [site] = found.sites
    units = {(slot.tensor, slot.dim): slot.unit_of.tolist() for slot in site.slots}
    assert units["a.weight", 0] == [0, 0, 1, 1, 2, 2]
    assert units["b.weight", 0] == units["c.weight", 1] == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]
    assert ("b.weight", 1) not in units


def test_whole_groups_go_and_the_rest_is_equal():
    anatomy = Anatomy(Grouped().eval().double(), torch.randn(2, 1, 4, 4).double())
    [site] = structures("groups", anatomy).sites
    small = shrink(anatomy, {"b": torch.tensor([True, False, True])}, [site]).model
    assert (small.b.groups, small.b.in_channels, small.b.out_channels) == (2, 4, 8)


def test_groups_of_a_module_of_ones_own_are_left_alone():
    class Own(nn.Module):
        groups = 2

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(8, 4))

        def forward(self, x):
            return x @ self.weight.T

    anatomy = Anatomy(
        nn.Sequential(nn.Linear(4, 4), nn.ReLU(), Own(), nn.Linear(8, 2)).double(), torch.randn(2, 4).double()
    )
    small = shrink(anatomy, {site.name: torch.arange(site.units) < 2 for site in sites(anatomy)}).model
    assert small[2].weight.shape == (2, 2)
    assert small[2].groups == 2


def test_a_network_without_such_structures_is_refused():
    for kind in ("blocks", "groups"):
        with pytest.raises(InputError, match=f"has no {kind} that can have factors; give other structures"):
            next(method(start(tiny_task()), kind=kind))
    with pytest.raises(InputError, match="unknown kind 'layers'"):
        next(method(start(tiny_task()), kind="layers"))


@pytest.mark.parametrize(
    "bad", [{"strength": -1}, {"momentum": 1.0}, {"settle": 1.1}, {"settle": -0.1}, {"rate": -1}, {"macs": 1.5}]
)
def test_bad_options(bad):
    with pytest.raises(InputError, match="need numbers of 0 or more"):
        next(method(start(residual_task()), **bad))


def test_a_trial_leaves_the_short_network_and_another_one_begins_with_it(tmp_path, monkeypatch):
    task = residual_task(3, batch_size=24, lr=0.5)
    monkeypatch.setitem(TASKS, "residual", lambda: task)
    monkeypatch.setitem(TASK_VERSIONS, "residual", 1)
    first = Trial.make(method.__name__, "residual", 0, strength=0.35, epochs=1, settle=0.0)
    then = Trial.make("dense", "residual", 1, epochs=1, stop="epochs").after(start=first)
    for trial in (first, then):
        run_into(tmp_path, trial)
        left = export.load(tmp_path / trial.id / "weights.safetensors", task.model)
        assert len(skipped(left)) == 8, "two of three blocks, of four modules each, are gone"
        rows = {
            row.metric: row.value for row in read_rows(tmp_path / trial.id / "rows.jsonl") if row.split == "network"
        }
        assert rows["parameters"] == sum(p.numel() for p in left.parameters())


# A share of the multiply-adds


FEW = partial(residual_task, 3, batch_size=48, lr=0.05)
CONV = replace(tiny_conv_task(), model=lambda: Grouped().double())


@pytest.mark.parametrize("share", [0.8, 0.6])
def test_factors_rest_as_soon_as_enough_blocks_are_at_zero(share):
    """All would go otherwise. In the end nothing goes but what was at 0, and a step before more than that was left."""
    first = start(FEW())
    found = structures("blocks", first.apart.several)
    cost, most = work("blocks", first.apart.one, first.apart.several, found), share * first.reference.macs
    run, seen = selected(FEW(), strength=0.25, epochs=30, settle=0.0, macs=share)
    left = [cost(dict(zip(found.units, (now > 0).split(1), strict=True))) for now, _ in seen]
    at = next(number for number, each in enumerate(left) if each <= most)
    assert min(left[:at]) > most
    assert all(torch.equal(now, seen[at][0]) for now, _ in seen[at:])
    assert len(seen) > at + 5
    assert run.size().macs == left[-1]
    gone = [name for name, (zero, _) in skipped(run.model).items() if zero]
    assert run.notes["zeros"] == int((seen[at][0] == 0).sum()) == len(gone)


@pytest.mark.parametrize(
    ("kind", "task", "share"), [("blocks", FEW(), 0.6), ("channels", residual_task(2), 0.7), ("groups", CONV, 0.5)]
)
def test_where_too_few_are_at_zero_the_smallest_go_and_one_fewer_would_not_be_enough(kind, task, share, monkeypatch):
    chosen, seen = Affordable.chosen, {}

    def watched(few, gated):
        values = torch.arange(sum(few._found.units.values())).double() * 7 % 11  # in no order; one or more are 0
        for gate, mine in zip(gated.gates.values(), values.split([*few._found.units.values()]), strict=True):
            gate.value.data.copy_(mine)
        seen.update(values=values, keep=chosen(few, gated), work=few._work, most=few.most)
        return seen["keep"]

    monkeypatch.setattr(Affordable, "chosen", watched)
    run, _ = selected(task, kind=kind, epochs=1, strength=0.0, macs=share)
    keep, values, most = seen["keep"], seen["values"], seen["most"]
    kept = torch.cat([*keep.values()])
    assert run.size().macs == seen["work"](keep) <= most == share * run.reference.macs
    last = int(values.masked_fill(kept, -1).argmax())
    assert values[last] > 0
    assert sum(values[last] > values[kept]) <= len(keep) * bool(kind != "blocks"), "but for the last one of a layer"
    more = kept | (torch.arange(len(kept)) == last)
    sizes = [len(each) for each in keep.values()]
    assert seen["work"](dict(zip(keep, more.split(sizes), strict=True))) > most


def test_what_cannot_be_left_is_told_before_anything_is_trained():
    run = start(FEW())
    with pytest.raises(
        InputError, match=r"macs=0.2 cannot be met: without all blocks 0.231 of the multiply-adds is left"
    ):
        next(method(run, macs=0.2))
    assert run.step == 0
