"""What people give in place of a batch: the error says what it is and what to give."""

import logging

import numpy as np
import pytest
import torch
from torch import nn

from sapwood import InputError, prune, sites


class Two(nn.Module):
    """A model that really takes two numbers."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(2, 8), nn.Linear(8, 2)

    def forward(self, a, b):
        return self.last(self.first(torch.full((1, 2), float(a + b))).relu())


def with_norm():
    return nn.Sequential(nn.Conv2d(1, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 36, 2))


def without_norm():
    return nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 36, 2))


@pytest.mark.parametrize(
    ("example", "says"),
    [
        (None, r"^the example is None; give a batch as forward takes it, for example images\[:1\]$"),
        (np.ones((1, 1, 8, 8)), r"^the example holds a ndarray of numpy; give a tensor, torch.from_numpy\(x\)$"),
        ({"input": np.ones(3)}, r"^the example holds a ndarray of numpy"),
        ((1, 1, 8, 8), r"^the example is \(1, 1, 8, 8\), which are numbers; if this is a shape, give"),
        (torch.Size([1, 1, 8, 8]), r"^the example is \(1, 1, 8, 8\), which are numbers"),
    ],
)
def test_what_is_no_batch_is_told(example, says):
    with pytest.raises(InputError, match=says):
        prune(without_norm(), example, macs=0.5)


def test_a_model_that_takes_numbers_may_have_them():
    assert [site.units for site in sites(Two(), (1, 2))] == [8]


@pytest.mark.parametrize("make", [with_norm, without_norm])
def test_one_sample_without_its_batch_is_told_and_torch_writes_nothing(make, capfd):
    with pytest.raises(
        InputError, match=r"the example lacks the dimension of samples: for one tensor x give x\[None\]"
    ):
        prune(make(), torch.ones(1, 8, 8), macs=0.5)
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")
    assert logging.root.manager.disable == 0


def test_nothing_is_said_of_a_batch_when_that_does_not_help():
    with pytest.raises(InputError) as caught:
        prune(with_norm(), torch.ones(1, 3, 8, 8), macs=0.5)
    assert "dimension of samples" not in str(caught.value)
