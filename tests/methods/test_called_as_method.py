"""One call as a method: the network is the one that `prune` gives; more laws of it are in planted/calling.py."""

from functools import partial

import pytest
import torch
from squares import D, images
from torch.optim import SGD

from sapwood import prune
from sapwood.errors import InputError
from sapwood.methods.one_call import one_call
from sapwood.models.resnet_cifar import resnet_cifar
from sapwood.training.loop import evaluate
from sapwood.training.run import start
from sapwood.training.task import Data, Task

DATA = Data(images(32, 0), images(16, 1), images(16, 2))
NET = partial(resnet_cifar, 14, width=8, classes=4, dtype=D)
TASK = Task("images", NET, DATA, partial(SGD, lr=0.05), batch_size=16, classes=4)


def called(**options):
    run = start(TASK)
    list(one_call(run, epochs=0, tune=0, **{"multiple": 2} | options))
    return run


def test_the_network_is_that_of_prune_by_another_criterion():
    wanted = prune(start(TASK).model, TASK.example, macs=0.6, by="lamp", multiple=2, timing=0)
    found = called(macs=0.6, by="lamp")
    assert found.size().macs == wanted.after.macs
    x = DATA.test.take(slice(None)).inputs
    assert torch.equal(found.model.eval()(x), wanted.model.eval()(x))


def test_with_all_multiply_adds_the_network_stays():
    run = called(macs=1.0)
    assert not run.rebuilt
    assert run.notes["cut_valid_accuracy"] == evaluate(run)["accuracy"]


def test_criteria_of_units_look_at_samples():
    run = called(macs=0.6, by="activity", samples=16)
    assert run.rebuilt
    assert run.size().macs <= 0.6 * run.reference.macs


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
