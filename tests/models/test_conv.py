"""conv: the shapes, names and initial values it promises, and that what is counted of it are its channels."""

import pytest
import torch
from torch import nn

from sapwood.errors import InputError
from sapwood.models.conv import conv
from sapwood.scoring.answers import hidden
from sapwood.scoring.observation import observing
from sapwood.scoring.statistics import active, count


def test_the_hidden_layers_are_the_convolutions_in_order():
    network = conv(1, 8, 16, 32, side=28, classes=10)
    assert hidden(network) == ["conv1", "conv2", "conv3"]
    assert [name for name, _ in network.named_children()][:4] == ["conv1", "relu1", "pool1", "conv2"]
    shapes = [tuple(p.shape) for name, p in network.named_parameters() if name.endswith("weight")]
    assert shapes == [(8, 1, 3, 3), (16, 8, 3, 3), (32, 16, 3, 3), (10, 32 * 7 * 7)]


@pytest.mark.parametrize(("side", "left"), [(28, 7), (29, 7), (4, 1)])
def test_every_pool_halves_the_side_rounded_down(side, left):
    network = conv(2, 3, 4, 5, side=side, classes=6)
    assert network.output.in_features == 5 * left**2
    assert network(torch.rand(7, 2, side, side)).shape == (7, 6)


def test_it_computes_what_its_layers_say():
    network = conv(1, 2, 3, side=4, classes=5, dtype=torch.float64)
    x = torch.randn(6, 1, 4, 4, dtype=torch.float64)
    first = nn.functional.conv2d(x, network.conv1.weight, network.conv1.bias, padding=1).clamp(min=0)
    pooled = first.view(6, 2, 2, 2, 2, 2).amax((3, 5))
    second = nn.functional.conv2d(pooled, network.conv2.weight, network.conv2.bias, padding=1).clamp(min=0)
    expected = second.view(6, 12) @ network.output.weight.T + network.output.bias
    torch.testing.assert_close(network(x), expected, rtol=1e-12, atol=1e-12)  # two orders of summation, float64


def test_a_channel_is_counted_once_for_every_sample_and_position():
    network = conv(1, 2, 3, side=4, classes=5, dtype=torch.float64)
    x = torch.randn(6, 1, 4, 4, dtype=torch.float64)
    with torch.no_grad(), observing(network, active, count, only=hidden(network)) as seen:
        network(x)
    by_hand = (nn.functional.conv2d(x, network.conv1.weight, padding=1) > 0).sum((0, 2, 3))
    assert seen["conv1"][active].tolist() == by_hand.tolist()
    assert [int(seen[name][count]) for name in ("conv1", "conv2")] == [6 * 4 * 4, 6 * 2 * 2]


def test_weights_fill_the_glorot_interval_and_biases_are_zero():
    torch.manual_seed(0)
    network = conv(3, 32, 64, side=8, classes=10)
    ends = {"conv1": (3 * 9, 32 * 9), "conv2": (32 * 9, 64 * 9), "output": (64 * 16, 10)}
    for name, (inputs, outputs) in ends.items():
        layer, bound = network.get_submodule(name), (6 / (inputs + outputs)) ** 0.5
        largest = float(layer.weight.detach().abs().max())
        assert 0.98 * bound < largest <= bound * (1 + 1e-6)  # 864 draws all stay below 98 % once in 10^7 times
        assert not layer.bias.any()


def test_the_type_reaches_every_layer():
    network = conv(1, 2, 3, side=4, classes=5, dtype=torch.float64)
    assert all(p.dtype is torch.float64 for p in network.parameters())


@pytest.mark.parametrize(
    ("channels", "side", "classes"),
    [((1,), 28, 10), ((), 28, 10), ((1, 0, 2), 28, 10), ((1, 2.0), 28, 10), ((1, 2), 0, 10), ((1, 2), 28, 0)],
)
def test_bad_sizes_are_refused_with_their_values(channels, side, classes):
    with pytest.raises(InputError, match="at least two channels") as caught:
        conv(*channels, side=side, classes=classes)
    assert f"{channels} with side={side} and classes={classes}" in str(caught.value)


def test_more_pools_than_the_image_bears_are_refused():
    with pytest.raises(InputError, match="side is 3; 2 pools leave nothing of it"):
        conv(1, 2, 3, 4, side=3, classes=10)
