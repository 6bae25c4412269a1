"""resnet_cifar: the networks' names, counts and arithmetic; the trained ones; what can be removed of them, exactly."""

import os
from itertools import islice

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sapwood.data import cifar10
from sapwood.data.files import MissingData
from sapwood.errors import InputError
from sapwood.measure.correct import accuracy
from sapwood.measure.work import macs
from sapwood.models.resnet_cifar import load_trained, resnet_cifar, trained_weights
from sapwood.shrinking.finding import couplings
from sapwood.shrinking.shrunk import shrink
from sapwood.tasks import TASKS

COUNTS = {20: 269_722, 32: 464_154, 56: 853_018, 110: 1_727_962}
MACS = {56: 125.49e6, 110: 252.89e6}  # as counted by Liu et al. 2019 (arXiv 1810.05270)
RIGHT_OF_1000 = {20: 915, 56: 926}  # of the first test images
RIGHT = {20: 9_173, 56: 9_339}  # of all 10,000, as their author states
BY_NIGHT = pytest.mark.skipif("SAPWOOD_NETWORKS" not in os.environ, reason="takes long; the first thousand are asked")


@pytest.mark.parametrize("depth", COUNTS)
def test_parameters_are_those_of_the_paper_s_networks(depth):
    network = resnet_cifar(depth)
    assert sum(p.numel() for p in network.parameters()) == COUNTS[depth]
    assert sum(isinstance(layer, nn.Conv2d | nn.Linear) for layer in network.modules()) == depth


@pytest.mark.parametrize("depth", MACS)
def test_multiply_adds_are_those_others_have_counted(depth):
    counted = sum(macs(resnet_cifar(depth), torch.zeros(1, 3, 32, 32)).values())
    assert counted == pytest.approx(MACS[depth], abs=0.005e6)  # stated with two decimals


def unsettled(network, seed=0):
    """Batch norms that are not neutral, so that leaving one out shows."""
    generator = torch.Generator().manual_seed(seed)
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for tensor in (norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return network.double().eval()


def by_hand(weights, x, blocks):
    """The network written down once more, from its weights alone."""

    def layer(x, conv, norm, stride=1):
        x = F.conv2d(x, weights[f"{conv}.weight"], stride=stride, padding=1)
        mean, var, gain, shift = (
            weights[f"{norm}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-5).sqrt() * gain + shift

    x = layer(x, "conv1", "bn1").clamp(min=0)
    for stage in (1, 2, 3):
        for block in range(blocks):
            at = f"layer{stage}.{block}"
            stride = 2 if stage > 1 and block == 0 else 1
            y = layer(x, f"{at}.conv1", f"{at}.bn1", stride).clamp(min=0)
            y = layer(y, f"{at}.conv2", f"{at}.bn2")
            if stride == 2:
                nothing = torch.zeros_like(x[:, : x.shape[1] // 2, ::2, ::2])
                x = torch.cat([nothing, x[:, :, ::2, ::2], nothing], 1)
            x = (x + y).clamp(min=0)
    return x.flatten(2).mean(2) @ weights["linear.weight"].T + weights["linear.bias"]


@pytest.mark.parametrize(("depth", "width", "side"), [(8, 4, 8), (14, 2, 9), (20, 16, 32)])
def test_it_computes_what_the_paper_says(depth, width, side):
    torch.manual_seed(0)
    network = unsettled(resnet_cifar(depth, width=width, classes=7))
    x = torch.randn(3, 3, side, side, dtype=torch.float64)
    expected = by_hand(network.state_dict(), x, (depth - 2) // 6)
    assert expected.shape == (3, 7)
    torch.testing.assert_close(network(x), expected, rtol=1e-11, atol=1e-11)  # other orders of summation, float64


def test_the_shortcut_lets_the_gradient_through():
    network = resnet_cifar(8, width=2, dtype=torch.float64)
    for block in (network.layer2[0], network.layer3[0]):
        nn.init.zeros_(block.bn2.weight)  # nothing comes through the convolutions
    network(torch.randn(4, 3, 8, 8, dtype=torch.float64)).sum().backward()
    assert network.layer1[0].conv1.weight.grad.abs().sum() > 0


def test_weights_start_with_the_variance_of_he_and_biases_at_0():
    torch.manual_seed(0)
    network = resnet_cifar(20)
    for layer in (network.layer2[1].conv1, network.layer3[1].conv2, network.layer3[2].conv1):
        count, inputs = layer.weight.numel(), layer.weight[0].numel()
        spread = 4 * (2 / count) ** 0.5  # four standard errors of a normal's variance, relative
        assert float(layer.weight.detach().var()) == pytest.approx(2 / inputs, rel=spread)
    assert not network.linear.bias.any()
    assert not any(layer.bias is not None for layer in network.modules() if isinstance(layer, nn.Conv2d))


@pytest.mark.parametrize(
    ("depth", "width", "classes"), [(2, 16, 10), (21, 16, 10), (20.0, 16, 10), (-4, 16, 10), (20, 0, 10), (8, 16, 0)]
)
def test_bad_sizes_are_refused_with_their_values(depth, width, classes):
    with pytest.raises(InputError, match=rf"depth={depth}, width={width}, classes={classes}; depth is 6n \+ 2"):
        resnet_cifar(depth, width=width, classes=classes)


def half(sites, seed):
    """Half of every site's units, drawn at random."""
    generator = torch.Generator().manual_seed(seed)
    return {site.name: torch.randperm(site.units, generator=generator) >= site.units // 2 for site in sites}


@pytest.mark.parametrize("seed", [0, 1])
def test_half_of_every_site_of_resnet20_is_removed_exactly(seed):
    torch.manual_seed(seed)
    network = unsettled(resnet_cifar(20), seed)
    example = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    found = couplings(network, example)
    inner = {f"layer{stage}.{block}.conv1": 8 * 2**stage for stage in (1, 2, 3) for block in range(3)}
    assert {site.name: site.units for site in found.sites} == {"conv1": 16} | inner
    assert {pinned.name.partition(".")[0] for pinned in found.pinned} == {"layer2", "layer3", "linear"}
    small = shrink(network, half(found.sites, seed), found.sites, example=example)
    assert small.difference < 1e-12
    assert small.model.linear.in_features == 64 - 8  # the first stage's stream goes through all three
    assert sum(p.numel() for p in small.model.parameters()) == 111_106  # 41 % of 269,722


def test_a_shrunk_network_can_be_shrunk_again():
    torch.manual_seed(0)
    network = unsettled(resnet_cifar(8, width=8))
    example = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    sizes = []
    for seed in range(3):
        sites = couplings(network, example).sites
        found = shrink(network, half(sites, seed), sites, example=example)
        assert found.difference < 1e-12
        network = found.model
        sizes.append(sum(p.numel() for p in network.parameters()))
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 3


@pytest.fixture
def trained(real_data):
    return lambda depth: real_data(lambda: load_trained(depth)).eval()


@pytest.mark.data
@pytest.mark.parametrize("depth", RIGHT)
def test_every_number_of_a_trained_network_is_in_the_network(trained, depth):
    network = trained(depth)
    weights = trained_weights(depth)
    counters = {name for name in network.state_dict() if name.endswith("num_batches_tracked")}
    assert set(weights) == set(network.state_dict()) - counters
    for name, value in weights.items():
        assert value.dtype is torch.float32
        assert torch.equal(network.state_dict()[name], value)
    assert all(p.dtype is torch.float64 for p in load_trained(depth, dtype=torch.float64).parameters())


def right(network, count):
    """How many of the first `count` test images have the largest score at their class."""
    images, labels = cifar10.load()[2:]
    mean, std = (torch.tensor(each)[:, None, None] for each in (cifar10.MEAN, cifar10.STD))
    with torch.no_grad():
        return sum(
            int((network((images[at : at + 500] / 255 - mean) / std).argmax(1) == labels[at : at + 500]).sum())
            for at in range(0, count, 500)
        )


@pytest.mark.data
@pytest.mark.parametrize("depth", RIGHT_OF_1000)
def test_a_trained_network_knows_the_first_thousand_test_images(real_data, trained, depth):
    real_data(cifar10.load)
    # Rounding differs from machine to machine, and decides where two classes score alike: up to one image.
    assert abs(right(trained(depth), 1_000) - RIGHT_OF_1000[depth]) <= 1


@BY_NIGHT
@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("depth", RIGHT)
def test_a_trained_network_has_its_stated_test_accuracy(real_data, trained, depth):
    real_data(cifar10.load)
    assert abs(right(trained(depth), 10_000) - RIGHT[depth]) <= 1  # 0.01 %


@pytest.mark.data
@pytest.mark.slow
def test_a_trained_network_is_pruned_shrunk_and_recovers(real_data):
    """Half of the filters inside the blocks go, those of small norm; twenty steps bring much of it back."""
    task = real_data(TASKS["resnet20_cifar_trained"])
    network, few = task.model(), task.data.test.take(slice(0, 500))
    found = couplings(network, few.inputs[:2])
    norms = {site.name: network.get_submodule(site.name).weight.detach().abs().sum((1, 2, 3)) for site in found.sites}
    keep = {name: norm > norm.median() for name, norm in norms.items() if name != "conv1"}
    network = shrink(network, keep, found.sites, example=few.inputs[:2]).model
    damaged = accuracy(network, few)["top1"]
    optimizer = task.optimizer(network.train().parameters())
    for batch in islice(task.batches(seed=0, epoch=0), 20):
        optimizer.zero_grad()
        task.loss(network, batch, network(batch.inputs)).backward()
        optimizer.step()
    recovered = accuracy(network, few)["top1"]
    assert damaged < 0.5  # 0.14
    assert recovered > 0.55  # 0.64


def test_missing_and_damaged_weights_are_refused_by_name(monkeypatch, tmp_path):
    monkeypatch.setenv("SAPWOOD_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(MissingData, match=r"resnet20-12fca82f\.npz.*put them into one of these$"):
        load_trained(20)
    (tmp_path / "cifar10-resnets").mkdir()
    np.savez(tmp_path / "cifar10-resnets" / "resnet20-12fca82f.npz", weight=np.zeros(3))
    with pytest.raises(InputError, match=r"resnet20-12fca82f\.npz is damaged or another version"):
        load_trained(20)
    with pytest.raises(InputError, match="unknown trained CIFAR ResNet of depth '32'; known: 20, 56"):
        load_trained(32)
