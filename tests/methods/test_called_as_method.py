"""One call as a method: the network is the one that `prune` gives, branches and all, and luck is the seed's."""

from functools import partial

import pytest
import torch
from squares import D, images
from torch.optim import SGD

from sapwood import prune
from sapwood.errors import InputError
from sapwood.methods.one_call import one_call
from sapwood.models.resnet_cifar import resnet_cifar
from sapwood.training.run import start
from sapwood.training.task import Data, Task

DATA = Data(images(32, 0), images(16, 1), images(16, 2))
NET = partial(resnet_cifar, 14, width=8, classes=4, dtype=D)
TASK = Task("images", NET, DATA, partial(SGD, lr=0.05), batch_size=16, classes=4)


def called(seed=0, **options):
    run = start(TASK, seed=seed)
    list(one_call(run, epochs=0, tune=0, **{"multiple": 2} | options))
    return run


@pytest.mark.parametrize(
    ("options", "branches"),
    [({"macs": 0.5}, True), ({"macs": 0.7, "uniform": True}, False), ({"macs": 0.6, "by": "lamp"}, False)],
)
def test_the_network_is_that_of_prune(options, branches):
    wanted = prune(start(TASK).model, TASK.example, multiple=2, timing=0, **options)
    found = called(**options)
    assert bool(wanted.branches) is branches
    assert found.size().macs == wanted.after.macs
    x = DATA.test.take(slice(None)).inputs
    assert torch.equal(found.model.eval()(x), wanted.model.eval()(x))


def test_with_all_multiply_adds_the_network_stays():
    run = called(macs=1.0)
    assert not run.rebuilt
    assert run.size() == run.reference


def test_luck_is_the_seeds_and_criteria_of_units_look_at_samples():
    first = start(TASK)
    state = {name: value.clone() for name, value in first.model.state_dict().items()}

    def widths(seed, **options):
        run = start(TASK, seed=seed)
        run.rewind(state)
        list(one_call(run, epochs=0, tune=0, macs=0.6, multiple=2, **options))
        return {name: tuple(p.shape) for name, p in run.model.named_parameters()}

    assert widths(0, by="luck") == widths(0, by="luck") != widths(1, by="luck")
    assert widths(0, by="l1") == widths(1, by="l1")
    assert called(macs=0.6, by="activity", samples=16).rebuilt


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"macs": 0.0}, "macs=0.0"),
        ({"macs": 1.5}, "macs=1.5"),
        ({"rate": -1.0}, "rate=-1.0"),
        ({"samples": 0}, "samples=0"),
        ({"by": "snip"}, "criterion 'snip'"),
    ],
)
def test_what_cannot_be_meant_is_refused(options, says):
    with pytest.raises(InputError, match=says):
        called(**options)
