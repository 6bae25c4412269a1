"""What the original network gives for the same samples, as `cross` sums it up."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from sapwood.checks.tiny import seeded_model, tiny_samples
from sapwood.errors import InputError
from sapwood.observe import observe, observing, recording
from sapwood.statistics import count, cross, gram, weight_grad
from sapwood.task import Batch


def pruned():
    """The tiny network, and a copy without half of its first layer's weights."""
    original = seeded_model()
    small = deepcopy(original)
    with torch.no_grad():
        small[0].weight[:, ::2] = 0
        small[2].bias += 1  # the pruned network's own bias is what is taken off
    return original, small


def by_hand(original, small, x):
    with torch.no_grad():
        read = small[:2](x)
        return read.T @ (original[:3](x) - small[2].bias)


def test_cross_is_of_what_the_pruned_network_reads_and_the_original_gives():
    original, small = pruned()
    samples = tiny_samples()
    seen = observe(small, [samples.take(slice(0, 20)), samples.take(slice(20, 48))], cross, wanted=original)
    assert torch.allclose(seen["2"][cross], by_hand(original, small, samples.inputs), rtol=1e-12, atol=1e-12)
    assert not original[0]._forward_hooks
    assert original.training


def test_with_gradients_too():
    original, small = pruned()
    samples = tiny_samples()
    options = {"loss": lambda y, batch: y.square().sum(), "only": ["2"]}
    seen = observe(small, [samples], cross, weight_grad, wanted=original, **options)
    assert torch.allclose(seen["2"][cross], by_hand(original, small, samples.inputs), rtol=1e-12, atol=1e-12)


def test_a_network_that_was_not_pruned_wants_what_it_gives():
    model = seeded_model()
    seen = observe(model, [tiny_samples()], cross, gram)
    for name in ("0", "2", "5"):
        expected = seen[name][gram] @ model.get_submodule(name).weight.detach().T
        assert torch.allclose(seen[name][cross], expected, rtol=1e-12, atol=1e-12)


def test_passes_are_paired_when_one_observes_by_oneself():
    original, small = pruned()
    original, small, x = original.eval(), small.eval(), tiny_samples().inputs
    with torch.no_grad(), recording(original, ["2"]) as gave:
        original(x[:10])
        original(x[10:])
    with torch.no_grad(), observing(small, cross, only=["2"], wanted=gave) as seen:
        small(x[:10])
        small(x[10:])
    assert torch.allclose(seen["2"][cross], by_hand(original, small, x), rtol=1e-12, atol=1e-12)
    assert gave == {"2": []}
    with (
        pytest.raises(InputError, match="'2' ran more often than in the original network"),
        torch.no_grad(),
        observing(small, cross, only=["2"], wanted=gave),
    ):
        small(x[:10])


def test_another_number_of_samples_is_refused():
    original, small = pruned()
    with torch.no_grad(), recording(original, ["2"]) as gave:
        original(tiny_samples().inputs[:9])
    with (
        pytest.raises(InputError, match="gave 10 outputs where the original gave 9"),
        torch.no_grad(),
        observing(small, cross, only=["2"], wanted=gave),
    ):
        small(tiny_samples().inputs[:10])


def test_of_a_convolution_that_lost_channels():
    luck = torch.Generator().manual_seed(0)
    x = torch.randn(5, 4, 6, 6, generator=luck, dtype=torch.float64)
    original = nn.Sequential(nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 3, 3, stride=2)).double().eval()
    small = nn.Sequential(nn.Conv2d(4, 2, 3, padding=1), nn.ReLU(), nn.Conv2d(2, 3, 3, stride=2)).double().eval()
    with torch.no_grad():
        small[0].weight.copy_(original[0].weight[[1, 4]])
        small[0].bias.copy_(original[0].bias[[1, 4]])
    seen = observe(small, [Batch(x, torch.zeros(5))], cross, count, only=["2"], wanted=original)["2"]
    assert seen[cross].shape == (2 * 9, 3)
    assert int(seen[count]) == 5 * 2 * 2
    with torch.no_grad():
        y = original(x)[:, 1] - small[2].bias[1]
        x_in = small[:2](x)[:, 1, 1:, 2:][:, ::2, ::2][:, :2, :2]  # channel 1, kernel position (1, 2)
    assert torch.allclose(seen[cross][9 + 5, 1], (x_in * y).sum(), rtol=1e-12)
