"""Rethinking: what is inherited, how long training takes, what the controls cost, which masks stay."""

from copy import deepcopy
from dataclasses import replace
from functools import cache, partial

import pytest
import torch
from squares import images, plain
from torch import nn
from torch.optim import SGD

from sapwood.errors import InputError
from sapwood.measure.work import macs
from sapwood.methods.l1_filters import l1_filters
from sapwood.methods.parts.equal_macs import macs_now, narrower
from sapwood.methods.rethink import PROTOCOLS, rethink, scratch_epochs
from sapwood.methods.unstructured_magnitude import unstructured_magnitude
from sapwood.shrinking.cost import macs_of
from sapwood.shrinking.finding import sites
from sapwood.training import checkpoint
from sapwood.training.fresh import reset
from sapwood.training.given import Given
from sapwood.training.run import start
from sapwood.training.size import size
from sapwood.training.task import Data, Task


class Residual(nn.Module):
    """Eight units that two layers make, and six inside."""

    def __init__(self):
        super().__init__()
        self.first, self.down, self.up = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 6, 1), nn.Conv2d(6, 8, 1)
        self.last = nn.Linear(8, 4)

    def forward(self, x):
        x = self.first(x)
        return self.last((x + self.up(self.down(x).relu())).mean((2, 3)))


DATA = Data(images(32, 0), images(16, 1), images(16, 2))
SOON = {"epochs": 3, "tune": 1}
SCRATCH = ("scratch_e", "scratch_b")


def drawn(network):
    """First weights as both networks have them, which are drawn in float32."""
    reset(network.float())
    network.double()


TASK = Task("images", plain, DATA, partial(SGD, lr=0.05, momentum=0.9), batch_size=16, classes=4, fresh=drawn)
RESIDUAL = replace(TASK, model=lambda: Residual().double())


def left(run):
    """What a finished run leaves for others."""
    model = deepcopy(run.model)
    return Given(model.state_dict(), dict(run.masks), 3.0, run.rebuilt, lambda: deepcopy(model))


@cache
def trained(task=TASK, seed=0):
    run = start(task, seed)
    list(l1_filters(run, pruned=0.0, epochs=2, tune=0))
    return left(run)


@cache
def smaller(task=TASK, seed=0, **options):
    run = start(task, seed)
    list(l1_filters(run, **{"pruned": 0.5, "epochs": 2, "tune": 0} | options))
    return left(run)


@cache
def masked(seed=0):
    run = start(TASK, seed)
    list(unstructured_magnitude(run, sparsity=0.75, dense=True, epochs=2, tune=0))
    return left(run)


def rethought(like=None, begun=None, task=TASK, seed=0, steps=None, **options):
    """The run, rethought to its end or for so many steps."""
    run = start(task, seed)
    run.given = {name: given for name, given in (("like", like), ("start", begun)) if given}
    if begun:
        run.rewind(begun.weights)
    for number, _ in enumerate(rethink(run, **SOON | options), 1):
        if number == steps:
            break
    return run


def same(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize(
    ("epochs", "whole", "now", "cap", "wanted"),
    [
        (160, 30, 20, 0.0, 240),
        (160, 31, 20, 0.0, 248),
        (7, 10, 3, 0.0, 23),  # 23.3
        (90, 4, 1, 2.0, 180),
        (90, 3, 2, 2.0, 135),
        (9, 4, 1, 1.5, 13),
        (49, 10**18, 10**18 - 1, 0.0, 49),  # as numbers with a point, the quotient is 1
        (3, 3 * 10**17, 10**17, 0.0, 9),
    ],
)
def test_epochs_of_scratch_b(epochs, whole, now, cap, wanted):
    assert scratch_epochs(epochs, whole, now, cap) == wanted


@pytest.mark.parametrize("make", [smaller, masked], ids=["smaller", "masked"])
def test_scratch_b_costs_what_the_unpruned_network_did(make):
    like = make()
    run = rethought(like, epochs=7)
    share = macs_now(run) / run.reference.macs
    assert share < 0.5
    assert run.notes["macs_left"] == share
    assert run.step == 2 * int(7 / share)  # two steps an epoch
    spent = run.step / 2 * macs_now(run) / (7 * run.reference.macs)
    assert run.notes["cost"] == pytest.approx(spent)
    assert 1 - share / 7 < spent <= 1  # less than one of its own epochs is left over
    assert rethought(like, epochs=2, cap=1.5).step == 2 * 3
    assert rethought(like, epochs=2, protocol="scratch_e").step == 2 * 2


def test_of_masked_layers_weights_that_are_not_0_are_counted():
    run = rethought(masked(), protocol="fine_tune", tune=0)
    nonzero = sum(macs(run.model, TASK.example, sparse=True).values())
    assert macs_now(run) == nonzero < sum(macs(run.model, TASK.example).values()) == run.reference.macs


@pytest.mark.parametrize("make", [smaller, masked], ids=["smaller", "masked"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_fine_tuning_inherits_and_everything_else_begins_with_random_weights(make, protocol):
    like, first = make(), start(TASK, 0).model.state_dict()
    run = start(TASK, 0)
    run.given = {"like": like}
    seen, loss = [], run.loss
    run.loss = lambda model, *given: seen.append(deepcopy(model.state_dict())) or loss(model, *given)
    next(rethink(run, protocol=protocol, **SOON))
    begun = seen[-1] if protocol in SCRATCH else seen[0]  # of the first step; tuning evaluates before
    assert {n: v.shape for n, v in begun.items()} == {n: v.shape for n, v in like.weights.items()}
    kernel = "3.weight"
    assert torch.equal(begun[kernel], like.weights[kernel]) is (protocol == "fine_tune")
    alive = like.masks.get(kernel, torch.ones(1)).bool()
    if begun[kernel].shape == first[kernel].shape:
        assert not bool((begun[kernel] == first[kernel])[alive].any())  # not a ticket's weights either
    assert bool((begun[kernel] != 0)[alive.expand(begun[kernel].shape)].all())
    assert bool((begun[kernel] == 0)[~alive.expand(begun[kernel].shape)].all())


def test_masks_stay_in_force_whatever_weights_are_under_them():
    like = masked()
    for protocol in PROTOCOLS:
        run = rethought(like, protocol=protocol, steps=2)
        assert all(torch.equal(run.masks[name], keep) for name, keep in like.masks.items())
        assert all(bool((run.model.get_parameter(name)[~keep] == 0).all()) for name, keep in like.masks.items())


def test_protocols_of_one_seed_draw_the_same_weights_and_see_the_same_batches():
    like = smaller()
    whole, equal = (rethought(like, protocol=protocol, steps=2) for protocol in SCRATCH)
    assert same(whole.model.state_dict(), equal.model.state_dict())
    other = rethought(like, protocol="scratch_e", seed=1, steps=2)
    assert not same(whole.model.state_dict(), other.model.state_dict())


def test_the_course_of_the_learning_rate_is_stretched_and_tuning_has_none():
    task, rates = replace(TASK, course=lambda over: 1 - over / 2), []
    for protocol in ("scratch_e", "scratch_b", "fine_tune"):
        run = start(task, 0)
        run.given = {"like": smaller()}
        rates.append([run.optimizer.param_groups[0]["lr"] for _ in rethink(run, protocol=protocol, epochs=4, tune=2)])
    short, long, tuned = rates
    assert len(long) > 2 * len(short)
    for lr in (short, long):
        assert lr == pytest.approx([0.05 * (1 - step / len(lr) / 2) for step in range(len(lr))])
    assert tuned == [0.05 * 0.01] * 4


@pytest.mark.parametrize("make", [smaller, masked], ids=["smaller", "masked"])
@pytest.mark.parametrize("protocol", ["fine_tune", "scratch_b"])
def test_interrupted_after_any_step_it_ends_with_the_same_bits(make, protocol):
    saves = []
    run = start(TASK)
    run.given, run.between = {"like": make()}, lambda run: saves.append(checkpoint.encode(run.state()))
    list(rethink(run, protocol=protocol, epochs=1, tune=2))
    assert len(saves) >= 2
    for saved in saves:
        again = start(TASK, saved=checkpoint.decode(saved))
        again.given = {"like": make()}
        list(rethink(again, protocol=protocol, epochs=1, tune=2))
        assert again.step == run.step
        assert same(again.model.state_dict(), run.model.state_dict())
        assert again.notes == run.notes


# Controls


@pytest.mark.parametrize("how", ["uniform", "random"])
@pytest.mark.parametrize("like", [smaller(ratios="3=0.75"), None], ids=["as another", "a share"])
def test_other_widths_cost_as_much_and_one_unit_more_would_cost_more(how, like):
    run = rethought(like, widths=how, protocol="scratch_e", macs=0.0 if like else 0.3, steps=1)
    limit = size(like.network(), TASK.example).macs if like else 0.3 * run.reference.macs
    assert run.size().macs <= limit
    keep, whole = run.cuts[0].keep, start(TASK, 0).model
    cost = macs_of(whole, sites(whole, TASK.example), TASK.example)
    assert float(cost(keep)) == run.size().macs
    more = []
    for name in keep:
        wider = {n: k.clone() for n, k in keep.items()}
        wider[name][(~keep[name]).nonzero()[:1]] = True
        more.append(float(cost(wider)))
    assert max(more) > limit


def test_uniform_widths_are_the_same_share_of_each_layer_and_random_ones_are_not():
    found = {how: [rethought(widths=how, protocol="scratch_e", macs=0.3, steps=1, seed=seed).cuts[0].keep
                   for seed in range(2)] for how in ("uniform", "random")}  # fmt: skip
    shares = {
        how: [[float(k.double().mean()) for k in keep.values()] for keep in keeps] for how, keeps in found.items()
    }
    assert all(abs(one - other) <= 1 / 8 for one, other in shares["uniform"])
    assert sum(abs(one - other) > 1 / 8 for one, other in shares["random"]) >= 1
    assert len({tuple(each) for each in shares["random"]}) > 1
    assert any(not torch.equal(found["uniform"][0][n], found["uniform"][1][n]) for n in found["uniform"][0])


def test_other_units_have_the_widths_of_the_pruned_network_and_the_trained_weights():
    like, whole = smaller(ratios="0=0.25 3=0.5"), trained()
    run = rethought(like, whole, widths="units", protocol="fine_tune", tune=0)
    assert run.size() == size(like.network(), TASK.example)
    keep = run.cuts[0].keep["0"]
    assert torch.equal(run.model[0].weight, whole.weights["0.weight"][keep])
    assert not same(run.model.state_dict(), like.weights)


@pytest.mark.parametrize("streams", [False, True])
def test_in_residual_networks_streams_are_cut_where_the_pruned_network_lost_some_of_theirs(streams):
    like = smaller(RESIDUAL, pruned=0.25, streams=streams, epochs=0)
    wanted = size(like.network(), TASK.example)
    run = rethought(like, task=RESIDUAL, widths="uniform", protocol="scratch_e", steps=1)
    assert (run.cuts[0].keep.keys() == narrower(start(RESIDUAL), like.weights).keys()) is streams
    assert run.size().macs <= wanted.macs
    assert rethought(like, task=RESIDUAL, widths="units", protocol="scratch_e", steps=1).size() == wanted


@pytest.mark.parametrize("how", ["units", "uniform", "random"])
def test_other_masks_leave_as_many_multiply_adds_at_other_places(how):
    like = masked()
    run = rethought(like, widths=how, protocol="scratch_e", steps=1)
    limit = macs_now(rethought(like, protocol="fine_tune", tune=0))
    dearest = 64  # positions of a weight of a convolution
    assert limit - dearest < macs_now(run) <= limit
    share, was = ({n: float(k.double().mean()) for n, k in masks.items()} for masks in (run.masks, like.masks))
    if how == "units":
        assert share == was
    if how == "uniform":
        assert max(share.values()) - min(share.values()) < 0.02
    if how == "random":
        assert max(share.values()) - min(share.values()) > 0.05
    assert all(not torch.equal(run.masks[name], keep) for name, keep in like.masks.items())


# Refused


@cache
def both():
    run = start(TASK, 0)
    list(l1_filters(run, epochs=0, tune=0))
    run.prune({"7.weight": torch.rand(run.model[7].weight.shape) > 0.5})
    return left(run)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"protocol": "scratch"}, "protocol"),
        ({"widths": "equal", "macs": 0.5}, "widths"),
        ({"cap": 0.5, "like": smaller()}, "cap=0.5"),
        ({"epochs": 0, "like": smaller()}, "epochs=0"),
        ({}, r"pruned widths, macs=0.0: name a pruned network's trial with after\(like=...\)"),
        ({"widths": "uniform"}, "uniform widths, macs=0.0"),
        ({"macs": 0.5, "widths": "units"}, "units widths, macs=0.5"),
        ({"macs": 0.5, "like": smaller()}, "pruned widths, macs=0.5"),
        ({"like": smaller(), "widths": "units", "protocol": "fine_tune"}, r"name their trial with after\(start=...\)"),
        ({"like": trained()}, "the one named as like is neither; name another trial"),
        ({"like": both(), "widths": "uniform"}, "the one named as like is both"),
        ({"like": smaller(), "task": replace(TASK, fresh=reset)}, "task 'images' has no rule for first weights"),
        ({"like": smaller(RESIDUAL), "widths": "uniform"}, "in the network that is named as like"),
    ],
)
def test_what_cannot_be_rethought_is_refused(options, says):
    with pytest.raises(InputError, match=says):
        rethought(**options)


def test_masked_networks_of_a_task_without_a_rule_get_another_seed_s_weights():
    run = rethought(masked(), task=replace(TASK, fresh=reset), protocol="scratch_e", epochs=1)
    assert run.step == 2


def test_a_network_with_masks_and_fewer_units_is_rethought_as_it_is():
    like = both()
    run = rethought(like, steps=1)
    assert torch.equal(run.masks["7.weight"], like.masks["7.weight"])
    assert isinstance(run.model, nn.Sequential)
    assert len(run.model[0].weight) == 4
