"""mlp: the shapes, names and initial values that the papers' networks have."""

import pytest
import torch
from torch import nn

from sapwood.errors import InputError
from sapwood.models.mlp import mlp

PAPER = (784, 300, 200, 100, 50, 10)


def test_the_activation_pruning_paper_s_network_has_its_counts():
    network = dict(mlp(*PAPER).named_parameters())
    kernels = {name: p.numel() for name, p in network.items() if name.endswith("weight")}
    assert list(kernels.values()) == [235_200, 60_000, 20_000, 5_000, 500]
    assert sum(kernels.values()) == 320_700
    assert sum(p.numel() for name, p in network.items() if name.endswith("bias")) == 660


def test_modules_are_named_after_what_they_do():
    network = mlp(4, 3, 2, 5)
    assert [name for name, _ in network.named_children()] == ["hidden1", "relu1", "hidden2", "relu2", "output"]
    assert next(iter(network.state_dict())) == "hidden1.weight"
    assert isinstance(network.output, nn.Linear)


def test_it_computes_what_its_layers_say():
    network = mlp(4, 3, 2, dtype=torch.float64)
    x = torch.randn(7, 4, dtype=torch.float64)
    hidden = (x @ network.hidden1.weight.T + network.hidden1.bias).clamp(min=0)
    expected = hidden @ network.output.weight.T + network.output.bias
    torch.testing.assert_close(network(x), expected, rtol=1e-12, atol=1e-12)  # two orders of summation, float64


def test_two_widths_are_a_linear_model():
    assert [name for name, _ in mlp(4, 2).named_parameters()] == ["output.weight", "output.bias"]


def test_weights_fill_the_glorot_interval_and_biases_are_zero():
    torch.manual_seed(0)
    for layer in mlp(*PAPER):
        if isinstance(layer, nn.Linear):
            bound = (6 / (layer.in_features + layer.out_features)) ** 0.5
            largest = float(layer.weight.detach().abs().max())
            assert 0.98 * bound < largest <= bound * (1 + 1e-6)  # 500 draws all stay below 98 % once in 25,000 times
            error = 4 * bound / (3 * layer.weight.numel()) ** 0.5  # four standard errors of a uniform's mean
            assert abs(float(layer.weight.detach().mean())) < error
            assert not layer.bias.any()


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    def weights(seed):
        torch.manual_seed(seed)
        return mlp(20, 10, 5).state_dict()

    assert all(torch.equal(one, two) for one, two in zip(weights(1).values(), weights(1).values(), strict=True))
    assert not torch.equal(weights(1)["output.weight"], weights(2)["output.weight"])


def test_options_reach_every_layer():
    network = mlp(4, 3, 2, bias=False, dtype=torch.float64)
    assert [name for name, _ in network.named_parameters()] == ["hidden1.weight", "output.weight"]
    assert all(p.dtype is torch.float64 for p in network.parameters())


@pytest.mark.parametrize("widths", [(), (784,), (784, 0, 10), (784, -3, 10), (784, 30.0, 10), ("784", 10), ([4, 10],)])
def test_bad_widths_are_refused_with_their_values(widths):
    with pytest.raises(InputError, match="at least two whole numbers") as caught:
        mlp(*widths)
    assert str(widths) in str(caught.value)
