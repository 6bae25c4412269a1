"""vgg_cifar: names, counts and arithmetic of the network that filter pruning papers take, and that all of it can go."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sapwood.errors import InputError
from sapwood.measure.work import macs
from sapwood.models.vgg_cifar import vgg_cifar
from sapwood.scoring.answers import hidden
from sapwood.shrinking.finding import couplings
from sapwood.shrinking.shrunk import shrink

HALVED = ((32, 64), (128, 128), (256, 256, 256), (256, 256, 256), (256, 256, 256))  # Li et al. 2017, VGG-16-A


def small(**options):
    torch.manual_seed(0)
    network = vgg_cifar(((4, 6), (8,)), hidden=5, side=8, classes=3, dtype=torch.float64, **options)
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
            for tensor in (norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var):
                tensor.copy_(torch.rand(tensor.shape) + 0.5)
    return network.eval()


def test_multiply_adds_are_those_of_the_pruning_papers():
    """As counted by Liu et al. 2019 (arXiv 1810.05270), and their 34.2 % and 64.0 % between the two."""
    images = torch.zeros(2, 3, 32, 32)
    counts = [sum(macs(vgg_cifar(*stages).eval(), images).values()) for stages in ((), (HALVED,))]
    assert [round(count / 1e6, 2) for count in counts] == [313.46, 206.28]
    weights = [sum(p.numel() for p in vgg_cifar(*stages).parameters() if p.dim() > 1) for stages in ((), (HALVED,))]
    assert round(1 - weights[1] / weights[0], 3) == 0.640
    assert weights[0] + 5_000 < sum(p.numel() for p in vgg_cifar().parameters()) < 15.0e6


def test_the_hidden_layers_are_named_in_order():
    network = vgg_cifar()
    assert hidden(network) == [f"conv{number}" for number in range(1, 14)] + ["hidden1"]
    assert [name for name, _ in network.named_children()][:8] == [
        "conv1", "bn1", "relu1", "conv2", "bn2", "relu2", "pool1", "conv3",
    ]  # fmt: skip
    assert [name for name, _ in network.named_children()][-6:] == [
        "pool5", "flatten", "hidden1", "hidden_bn1", "hidden_relu1", "output",
    ]  # fmt: skip


def test_it_computes_what_its_layers_say():
    network, x = small(), torch.randn(7, 3, 8, 8, dtype=torch.float64)
    weights = network.state_dict()

    def norm(x, name):
        parts = (weights[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        mean, var, gain, shift = (part.view(-1, *[1] * (x.dim() - 2)) for part in parts)
        return ((x - mean) / (var + 1e-5).sqrt() * gain + shift).clamp(min=0)

    y = x
    for number in (1, 2, 3):
        y = F.conv2d(y, weights[f"conv{number}.weight"], weights[f"conv{number}.bias"], padding=1)
        y = norm(y, f"bn{number}")
        if number > 1:
            n, c, h, w = y.shape
            y = y.view(n, c, h // 2, 2, w // 2, 2).amax((3, 5))
    y = norm(y.flatten(1) @ weights["hidden1.weight"].T + weights["hidden1.bias"], "hidden_bn1")
    expected = y @ weights["output.weight"].T + weights["output.bias"]
    torch.testing.assert_close(network(x), expected, rtol=1e-11, atol=1e-11)  # other orders of summation, float64


def test_weights_start_with_the_variance_of_he_and_biases_at_0():
    torch.manual_seed(0)
    network = vgg_cifar()
    for name in ("conv5", "conv10", "hidden1"):
        layer = network.get_submodule(name)
        spread = 4 * (2 / layer.weight.numel()) ** 0.5  # four standard errors of a normal's variance, relative
        assert float(layer.weight.detach().var()) == pytest.approx(2 / layer.weight[0].numel(), rel=spread)
        assert not layer.bias.any()


@pytest.mark.parametrize("seed", [0, 1])
def test_half_of_every_layer_is_removed_exactly(seed):
    network, example = small(), torch.randn(2, 3, 8, 8, dtype=torch.float64)
    found = couplings(network, example)
    assert {site.name: site.units for site in found.sites} == {"conv1": 4, "conv2": 6, "conv3": 8, "hidden1": 5}
    generator = torch.Generator().manual_seed(seed)
    keep = {site.name: torch.randperm(site.units, generator=generator) >= site.units // 2 for site in found.sites}
    shrunk = shrink(network, keep, found.sites, example=example)
    assert shrunk.difference < 1e-12
    assert [shrunk.model.get_submodule(name).weight.shape[0] for name in keep] == [2, 3, 4, 3]


@pytest.mark.parametrize(
    "options",
    [{"stages": ()}, {"stages": ((4,), ())}, {"stages": ((4, 0),)}, {"hidden": 2.0}, {"side": -1}, {"classes": 0}],
)
def test_bad_sizes_are_refused_with_their_values(options):
    ((name, value),) = options.items()
    with pytest.raises(InputError, match="at least one convolution in each") as caught:
        vgg_cifar(**options)
    assert f"{name}={value}" in str(caught.value)


def test_more_pools_than_the_image_bears_are_refused():
    with pytest.raises(InputError, match="side is 16; 5 pools leave nothing of it"):
        vgg_cifar(side=16)
