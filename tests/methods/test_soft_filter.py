"""Soft filter pruning: what is zeroed when, what comes back, what is taken out in the end."""

from functools import partial

import pytest
import torch
from test_l1_filters import plain, residual, task
from torch.optim import SGD

from sapwood.errors import InputError
from sapwood.methods.soft_filter import soft_filter
from sapwood.training.loop import evaluate
from sapwood.training.run import start


def warm():
    """With shifts above 0, so that a filter of 0 is read and gets a gradient."""
    net = plain()
    with torch.no_grad():
        net[1].bias.fill_(0.3)
        net[3].bias.fill_(0.3)
    return net


def zeroed(run):
    """Which filters of the two convolutions are 0, and nothing else is: norms and biases stay."""
    assert all(bool((p != 0).all()) for name, p in run.model.named_parameters() if name == "1.weight")
    return [(run.model[at].weight.flatten(1) == 0).all(1).tolist() for at in (0, 3)]


def test_the_weakest_filters_are_zero_at_the_end_of_each_epoch_and_train_on_between():
    run = start(task(warm))
    moments = soft_filter(run, pruned=0.5, epochs=3)
    next(moments)  # after one step all filters have moved, the zeroed ones too
    assert not any(map(any, zeroed(run)))
    for now in moments:
        if now.ends_epoch:
            assert [sum(each) for each in zeroed(run)] == [4, 6]
            assert now.metrics["valid_accuracy"] == evaluate(run)["accuracy"], "measured of the zeroed network"
        else:
            assert not any(map(any, zeroed(run)))
    assert [len(run.model[0].weight), len(run.model[3].weight)] == [4, 6]


def test_filters_are_chosen_every_so_many_epochs_and_once_more_in_the_end():
    run = start(task(warm))
    ends = [sum(map(sum, zeroed(run))) for now in soft_filter(run, pruned=0.25, every=2, epochs=3) if now.ends_epoch]
    assert ends == [0, 2 + 3, 0]
    assert [len(run.model[0].weight), len(run.model[3].weight)] == [6, 9]


def test_filters_come_back_and_the_choice_settles():
    """At a rate at which filters move; the distance between choices falls."""
    of = task()
    run = start(of)
    list(soft_filter(run, pruned=0.5, epochs=12))
    assert run.notes["revived"] >= 1
    assert 0 <= run.notes["moved_last"] <= run.notes["moved_first"] <= 1
    still = start(task(optimizer=partial(SGD, lr=0.0)))
    list(soft_filter(still, pruned=0.5, epochs=2))
    assert (still.notes["revived"], still.notes["moved_first"]) == (0, 0)


def test_what_is_built_answers_as_with_the_filters_and_their_norms_at_zero():
    run = start(task())
    for _ in soft_filter(run, pruned=0.5, epochs=2):
        whole = {name: p.clone() for name, p in run.model.state_dict().items()}
    again = start(task())
    again.model.load_state_dict(whole)
    with torch.no_grad():
        for norm, keep in ((again.model[1], run.cuts[-1].keep["0"]), (None, run.cuts[-1].keep["3"])):
            if norm is not None:
                norm.bias[~keep] = 0
                norm.weight[~keep] = 0
            else:
                again.model[3].bias[~keep] = 0
    x = run.task.data.valid.inputs
    with torch.no_grad():
        one, other = again.model.eval()(x), run.model.eval()(x)
    assert torch.allclose(one, other, rtol=1e-10, atol=1e-12)


def test_in_residual_networks_what_is_inside_of_blocks_goes():
    run = start(task(residual()))
    list(soft_filter(run, pruned=0.5, epochs=1))
    assert [len(run.model.layer1[0].conv1.weight), len(run.model.layer1[0].conv2.weight)] == [2, 4]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"pruned": 1.0}, "pruned=1.0"),
        ({"every": 0}, "every=0"),
        ({"rate": -1.0}, "rate=-1.0"),
        ({"by": "l7"}, "unknown unit criterion 'l7'"),
        ({"ratios": "9=0.5"}, "ratio '9=0.5' is of no site"),
    ],
)
def test_bad_options_are_refused(options, says):
    with pytest.raises(InputError, match=says):
        list(soft_filter(start(task()), **options))
