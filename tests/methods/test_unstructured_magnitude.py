"""Unstructured magnitude: one threshold over the convolutions, exactly as many, and zeros that stay zeros."""

from functools import partial

import pytest
import torch
from test_l1_filters import task
from torch.optim import SGD

from sapwood.errors import InputError
from sapwood.methods.unstructured_magnitude import unstructured_magnitude
from sapwood.training.run import start


@pytest.mark.parametrize("sparsity", [0.3, 0.8, 0.95])
def test_the_smallest_of_all_convolutions_go_and_dense_layers_stay(sparsity):
    run = start(task())
    weights = torch.cat([run.model[at].weight.detach().abs().flatten() for at in (0, 3)])
    count = int(sparsity * len(weights))
    list(unstructured_magnitude(run, sparsity=sparsity, epochs=0, tune=0))
    cut = weights.sort().values[count]
    assert set(run.masks) == {"0.weight", "3.weight"}
    assert sum(int((~keep).sum()) for keep in run.masks.values()) == count
    left = torch.cat([run.model[at].weight.detach().abs().flatten() for at in (0, 3)])
    assert torch.equal(left, weights * (weights >= cut))
    assert bool((run.model[7].weight != 0).all())


def test_all_layers_in_one_ranking_if_asked_for():
    run = start(task())
    list(unstructured_magnitude(run, sparsity=0.5, dense=True, epochs=0, tune=0))
    assert set(run.masks) == {"0.weight", "3.weight", "7.weight"}


def test_zeros_stay_zeros_under_momentum_and_weight_decay_and_tuning_helps():
    run = start(task(optimizer=partial(SGD, lr=0.1, momentum=0.9, weight_decay=0.01)))
    moments = list(unstructured_magnitude(run, sparsity=0.95, epochs=4, tune=33, rate=0.3))
    assert sum(now.phase == 1 for now in moments) == 99
    for name, keep in run.masks.items():
        assert bool((run.model.get_parameter(name)[~keep] == 0).all())
    assert run.notes["cut_valid_accuracy"] < moments[-1].metrics["valid_accuracy"]
    assert [group["lr"] for group in run.optimizer.param_groups] == [pytest.approx(0.03)]


def test_a_layer_that_is_left_empty_is_told():
    run = start(task())
    with torch.no_grad():
        run.model[0].weight.mul_(1e-6)
    list(unstructured_magnitude(run, sparsity=0.5, epochs=0, tune=0))
    assert run.notes["emptied"] == 1


@pytest.mark.parametrize("options", [{"sparsity": 1.0}, {"sparsity": -0.1}, {"rate": -1.0}])
def test_bad_options_are_refused(options):
    with pytest.raises(InputError, match=next(iter(options))):
        list(unstructured_magnitude(start(task()), **options))
