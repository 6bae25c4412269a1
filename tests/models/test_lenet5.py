"""LeNet-5: the numbers that pruning papers print of it, and that it computes what its layers say."""

import pytest
import torch
from torch.nn import functional as F

from sapwood.errors import InputError
from sapwood.measure.work import macs
from sapwood.models.initial import glorot
from sapwood.models.lenet5 import lenet5
from sapwood.scoring.answers import hidden


def test_its_counts_are_those_of_the_papers():
    network = lenet5().eval()
    assert sum(p.numel() for p in network.parameters()) == 431_080
    assert [*macs(network, torch.zeros(1, 1, 28, 28)).values()] == [288_000, 1_600_000, 400_000, 5_000]
    assert hidden(network) == ["conv1", "conv2", "hidden1"]


def test_it_computes_what_its_layers_say():
    network = lenet5(2, 3, 4, classes=5, dtype=torch.float64)
    images, of = torch.randn(6, 1, 28, 28, dtype=torch.float64), network.get_parameter
    x = images
    for at in (1, 2):
        x = F.max_pool2d(F.conv2d(x, of(f"conv{at}.weight"), of(f"conv{at}.bias")).clamp(min=0), 2)
    x = (x.flatten(1) @ of("hidden1.weight").T + of("hidden1.bias")).clamp(min=0)
    expected = x @ of("output.weight").T + of("output.bias")
    torch.testing.assert_close(network(images), expected, rtol=1e-12, atol=1e-12)  # two orders of summation, float64


def test_the_rule_for_its_first_weights_gives_those_that_it_begins_with():
    torch.manual_seed(3)
    one, other = lenet5(4, 5, 6), lenet5(4, 5, 6)
    torch.manual_seed(3)
    glorot(other)
    assert all(torch.equal(p, q) for p, q in zip(one.parameters(), other.parameters(), strict=True))


def test_bad_sizes_are_refused():
    with pytest.raises(InputError, match=r"first, second, hidden, classes = \(0, 50, 500, 10\)"):
        lenet5(0)
