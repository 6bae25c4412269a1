"""Steps that leave their numbers on the device: the same bits, one number read in a step, no weight moved by NaN."""

from dataclasses import replace

import pytest
import torch
from planted.leaving_there import device_laws, elsewhere

from sapwood.checks.tiny import tiny_task
from sapwood.training.loop import descend, evaluate, train
from sapwood.training.run import start
from sapwood.training.tally import Tally, number


@pytest.mark.parametrize("law", device_laws().values(), ids=device_laws())
def test_law(law):
    law()


def test_an_update_of_ones_own_may_return_another_loss():
    """What was announced is another tensor then, and the one that is returned counts."""

    def twice(run, batch):
        outputs, loss = descend(run, batch)
        return outputs, loss * 2

    task = replace(tiny_task(), optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.0))
    with elsewhere():
        once = [now.loss for now in train(start(task), steps=3)]
        doubled = [now.loss for now in train(start(task), steps=3, update=twice)]
    assert doubled == [2 * loss for loss in once]


def test_evaluating_is_the_same_wherever_sums_lie():
    run = start(tiny_task())
    here = evaluate(run)
    with elsewhere():
        assert evaluate(run) == here


def test_a_tally_goes_on_from_what_was_read():
    with elsewhere():
        sums = Tally({"count": 2.0})
        sums.add("count", torch.tensor(3))
        assert sums.read() == {"count": 5.0}
        sums.add("count", 1)
        assert sums.read() == {"count": 6.0}
        assert number(torch.tensor(0.1)).dtype is torch.float64
    assert type(number(torch.tensor(0.1))) is float
