"""Gates: the numbers of variational dropout worked out, its noise sampled, its penalty against what it approximates."""

import copy
import math

import pytest
import torch
from torch import nn

from sapwood import masks as mask
from sapwood.checks import tiny_task
from sapwood.checks.tiny import seeded, seeded_model, tiny_samples
from sapwood.errors import InputError
from sapwood.gates import VariationalDropout, WeightGated, decided
from sapwood.gates.variational_dropout import divergence, log_alpha
from sapwood.training.run import start

EULER = 0.5772156649015329


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


def gated(model, **options):
    layers = {name: m for name, m in model.named_modules() if hasattr(m, "weight")}
    return WeightGated(model, {name: VariationalDropout(layer.weight, **options) for name, layer in layers.items()})


# ---- the penalty ----


def test_the_penalty_worked_out():
    found = divergence(tensor(-8, -4, 0, 3, 8))
    assert found.tolist() == pytest.approx([4.635899, 2.634208, 0.431239, 0.025420, 0.000168], abs=5e-7)
    by_hand = 0.63576 * (1 - 1 / (1 + math.exp(-1.8732 - 1.48695 * 3))) + math.log1p(math.exp(-3)) / 2
    assert found[3].item() == pytest.approx(by_hand, abs=1e-15)


def test_the_penalty_falls_to_nothing_and_is_level_beyond_8():
    grid = torch.linspace(-8, 8, 1_001, dtype=torch.float64)
    assert (divergence(grid).diff() < 0).all()
    assert divergence(grid).min() > 0
    ends = tensor(-50, -8.5, 8.5, 50).requires_grad_()
    assert divergence(ends).tolist() == divergence(tensor(-8, -8, 8, 8)).tolist()
    divergence(ends).sum().backward()
    assert ends.grad.tolist() == [0, 0, 0, 0]


def expected_log(alpha):
    """E log|1 + sqrt(α) ε|, summed: the square over α is a Poisson mixture of χ² with 1 + 2j degrees of freedom."""
    half = 1 / (2 * alpha)
    j = torch.arange(int(half + 20 * math.sqrt(half + 1) + 60), dtype=torch.float64)
    weights = (j * math.log(half) - half - torch.lgamma(j + 1)).exp()
    return (math.log(alpha) + math.log(2) + (weights * torch.digamma(j + 0.5)).sum().item()) / 2


def exact(log_alpha):
    """KL(q || log-uniform prior), with the constant that makes it 0 at α = ∞: E log|ε| = -(γ + log 2) / 2."""
    return -log_alpha / 2 + expected_log(math.exp(log_alpha)) + (EULER + math.log(2)) / 2


@pytest.mark.parametrize("at", [-8, -6, -4, -3.5, -2, -1, 0, 1, 2, 3, 4, 6, 8])
def test_the_penalty_is_near_the_exact_divergence(at):
    assert divergence(tensor(at)).item() == pytest.approx(exact(at), abs=0.0095)


@pytest.mark.parametrize("at", [-4, -1, 0, 1, 3])
def test_the_penalty_is_near_the_divergence_by_monte_carlo(at):
    """With 400,000 draws the mean is off by 0.002 at most, one standard deviation; the approximation by 0.0095."""
    noise = torch.randn(400_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    logs = (1 + math.exp(at / 2) * noise).abs().log()
    sampled = -at / 2 + logs.mean().item() + (EULER + math.log(2)) / 2
    error = logs.std().item() / math.sqrt(len(noise))
    assert error < 0.002
    assert sampled == pytest.approx(exact(at), abs=4 * error)
    assert divergence(tensor(at)).item() == pytest.approx(sampled, abs=0.0095 + 4 * error)


def test_the_threshold_of_3_is_a_dropout_rate_of_95_percent():
    alpha = math.exp(3)
    assert alpha == pytest.approx(20.0855, abs=5e-5)
    assert alpha / (1 + alpha) == pytest.approx(0.952574, abs=5e-7)


# ---- one layer ----


def test_alpha_by_hand():
    """σ² = 4 and θ = 0.5, -2: α = 16 and 1; at θ = 0 it is 4 / 1e-8."""
    found = log_alpha(tensor(0.5, -2, 0), tensor(4, 4, 4).log())
    assert found.tolist() == pytest.approx([math.log(16), 0, math.log(4e8)], abs=1e-7)


def test_what_is_kept_and_what_it_scores():
    w = tensor([1, 0.1], [-1, 0])
    gate = VariationalDropout(w, log_sigma2=-2.0)
    assert gate.log_sigma2.tolist() == [-2] * 4
    assert gate.keep(w).tolist() == [[True, True], [True, False]]
    assert gate.score(w).flatten().tolist() == pytest.approx([2, 2 + math.log(0.01), 2, 2 + math.log(1e-8)], abs=1e-5)
    assert VariationalDropout(w, log_sigma2=-2.0, threshold=2.6).keep(w).tolist() == [[True, False], [True, False]]
    at = VariationalDropout(w[:1, :1], log_sigma2=3.0)
    assert not at.keep(tensor([math.sqrt(1 - 1e-8)])).any()  # log α = 3 exactly: it goes


def sampled(model, x, draws=40_000):
    """Mean and variance of a training pass's outputs over so many draws of noise, for one sample x."""
    with torch.no_grad(), seeded(3):
        outputs = model(x.expand(draws, *x.shape[1:]))
    return outputs.mean(0), outputs.var(0)


@pytest.mark.parametrize("layer", [nn.Linear(6, 4), nn.Conv2d(2, 3, 2, stride=2, padding=1)])
def test_the_noise_is_that_of_noisy_weights(layer):
    """Outputs by the formula, and by drawing weights themselves, have the same mean and variance."""
    with seeded(1):
        nn.init.normal_(layer.weight)
        model = nn.Sequential(layer).double()
        x = torch.randn(1, 6, dtype=torch.float64) if isinstance(layer, nn.Linear) else torch.randn(1, 2, 4, 4).double()
        network = gated(model, log_sigma2=-2.0)
        gate = network.gates["0"]
        gate.log_sigma2.data += torch.randn_like(gate.log_sigma2)
        theta, sigma = layer.weight.detach().clone(), (gate.log_sigma2.detach() / 2).exp().view_as(layer.weight)
        keep = gate.keep(layer.weight)
        assert 0 < keep.sum() < keep.numel()
        mean, variance = sampled(network, x)
        drawn = []
        with torch.no_grad():
            for _ in range(4_000):
                layer.weight.copy_(theta * keep + sigma * torch.randn_like(theta))
                drawn.append(model(x)[0])
            layer.weight.copy_(theta * keep)
            plain = model(x)[0]
    drawn = torch.stack(drawn)
    torch.testing.assert_close(mean, plain, rtol=0, atol=5 * (variance.max() / 40_000).sqrt().item())
    torch.testing.assert_close(variance, drawn.var(0), rtol=5 * math.sqrt(2 / 4_000), atol=1e-7)
    if isinstance(layer, nn.Linear):
        by_hand = x[0].square() @ gate.log_sigma2.detach().exp().view(4, 6).T
        torch.testing.assert_close(variance, by_hand, rtol=5 * math.sqrt(2 / 40_000), atol=0)


def test_two_equal_samples_of_a_batch_have_noise_of_their_own():
    network = gated(nn.Sequential(nn.Linear(3, 2)).double(), log_sigma2=0.0)
    first, second = network(torch.ones(2, 3, dtype=torch.float64))
    assert (first != second).all()


def test_the_mean_is_without_the_removed_weights_if_clipped():
    w, x = tensor([2, 0.01]), tensor([3, 5])
    for clipped, mean in ((True, 6), (False, 6.05)):
        layer = nn.Linear(2, 1, bias=False).double()
        layer.weight.data = w.clone()
        network = gated(nn.Sequential(layer), log_sigma2=-5.0, clipped=clipped)
        found, _ = sampled(network, x)
        assert found.item() == pytest.approx(mean, abs=5 * math.sqrt(math.exp(-5) * 34 / 40_000))
        assert network.eval()(x).item() == 6


def test_without_variance_training_is_plain():
    """What is left of the noise is the 1e-8 under the root: at most 6 times 1e-4 in a few outputs."""
    model, samples = seeded_model(), tiny_samples()
    layer = nn.Sequential(model[0])
    network = gated(layer, log_sigma2=-50.0)
    torch.testing.assert_close(network(samples.inputs), layer(samples.inputs), rtol=0, atol=6e-4)


def test_biases_have_no_noise():
    layer = nn.Linear(3, 2).double()
    network = gated(nn.Sequential(layer), log_sigma2=5.0)
    outputs = network(torch.zeros(1_000, 3, dtype=torch.float64))
    torch.testing.assert_close(outputs, layer.bias.detach().expand(1_000, 2), rtol=0, atol=6e-4)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -51.0])
def test_a_bad_variance_is_refused(bad):
    with pytest.raises(InputError, match=r"log_sigma2 is .*give the logarithm of a variance"):
        VariationalDropout(torch.ones(2, 2), log_sigma2=bad)


# ---- the network ----


class Nested(nn.Module):
    """Layers whose names have dots, one of them used twice."""

    def __init__(self):
        super().__init__()
        self.block = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        self.last = nn.Linear(4, 2)

    def forward(self, x):
        return self.last(self.block(self.block(x)))


def test_names():
    network = gated(Nested())
    assert [name for name, _ in network.named_parameters()] == [
        "model.block.0.weight", "model.block.0.bias", "model.last.weight", "model.last.bias",
        "gates.block/0.log_sigma2", "gates.last.log_sigma2",
    ]  # fmt: skip
    assert list(network.keep()) == list(network.scores()) == ["block.0.weight", "last.weight"]


def test_decided_is_by_the_gated_networks_own_names():
    network = gated(Nested(), log_sigma2=0.0)
    found = decided(network)
    mask.validate(found, dict(network.named_parameters()))
    assert list(found) == ["model.block.0.weight", "model.last.weight"]
    assert 0 < mask.sparsity(found) < 1
    assert decided(network.model) == {}


def test_a_run_does_not_take_variances_for_weights():
    """Its sparsity is of weights alone, 2 zeros of 136 here; `gates` have no matrices."""
    run = start(tiny_task())
    network = gated(run.model, log_sigma2=-20.0)
    run.become(network)
    run.model.model[0].weight.data[0, :2] = 0
    assert run.sparsity() == 2 / 136
    assert len(list(network.parameters())) == 9


def test_only_the_layers_named_are_gated():
    model, samples = seeded_model(), tiny_samples()
    network = WeightGated(model, {"2": VariationalDropout(model[2].weight, log_sigma2=0.0)})
    seen = []
    hooks = [model[at].register_forward_hook(lambda layer, x, y: seen.append(y)) for at in (0, 4)]
    network(samples.inputs)
    for hook in hooks:
        hook.remove()
    hidden = model[0](samples.inputs)
    assert torch.equal(seen[0], hidden)
    assert not torch.equal(seen[1], model(samples.inputs))
    assert list(network.keep()) == ["2.weight"]
    assert network.penalty().item() == pytest.approx(
        divergence(log_alpha(model[2].weight, torch.zeros(8, 8))).sum().item(), rel=1e-12
    )


def test_a_copy_is_gated_by_its_own_gates():
    network = gated(seeded_model(), log_sigma2=-20.0)
    twin = copy.deepcopy(network).eval()
    twin.gates["0"].log_sigma2.data.fill_(20.0)
    network.eval()
    inputs = tiny_samples().inputs
    assert torch.equal(network(inputs), network.model(inputs))
    assert not torch.equal(twin(inputs), network(inputs))


def test_a_layer_that_is_not_there_is_refused():
    w = torch.ones(2, 2)
    with pytest.raises(InputError, match="unknown layer 'hidden'"):
        WeightGated(seeded_model(), {"hidden": VariationalDropout(w)})
    with pytest.raises(InputError, match="Linear is a single layer without a name; put it into a Sequential"):
        WeightGated(nn.Linear(2, 2), {"": VariationalDropout(w)})
