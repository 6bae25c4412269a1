"""Gates on units: the worked numbers of their papers, how they are named, drawn and baked, what is refused."""

import math

import pytest
import torch
from torch import nn

from sapwood import InputError, parameters_of, shrink, sites
from sapwood.checks import tiny_task
from sapwood.checks.tiny import seeded, seeded_model, tiny_samples
from sapwood.gates import BetaBernoulli, Clamp, Gated, HardConcrete, UnitGate, decided
from sapwood.shrinking.scaling import points
from sapwood.training.run import start


def hard(log_alpha, **options):
    gate = HardConcrete(len(log_alpha), **options).double()
    gate.log_alpha.data = torch.tensor(log_alpha, dtype=torch.float64)
    return gate


# ---- hard concrete: Wang, Wohlwend, Lei 2020 ----


@pytest.mark.parametrize(("drop", "printed"), [(0.5, 0.917), (0.05, 0.995), (0.1, 0.990)])
def test_the_probability_of_being_open_at_first(drop, printed):
    gate = HardConcrete(3, drop=drop)
    assert gate.open().tolist() == pytest.approx([printed] * 3, abs=5e-4)
    odds = (1 - drop) / drop * 11  # σ(log α + log 11): -l / h is 1 / 11
    assert gate.open()[0].item() == pytest.approx(odds / (1 + odds), rel=1e-6)


@pytest.mark.parametrize("beta", [1.0, 2 / 3])
def test_the_probability_of_being_open_is_the_share_of_draws(beta):
    gate = hard([-3.0, -1.0, 0.5, 2.0], beta=beta)
    with seeded(0):
        seen = torch.stack([gate.draw(None) > 0 for _ in range(20_000)]).double().mean(0)
    assert seen.tolist() == pytest.approx(gate.open().tolist(), abs=4 * 0.5 / math.sqrt(20_000))


def expected(log_alpha, beta=1.0, points=200_001):
    """E[z], by a fine grid of u."""
    u = (torch.arange(points, dtype=torch.float64) + 0.5) / points
    return (torch.sigmoid((u.logit() + log_alpha) / beta) * 1.2 - 0.1).clamp(0, 1).mean().item()


def test_a_value_in_evaluation_is_near_the_mean_of_draws():
    """The sheet's numbers: 0.0832, 0.5000, 0.8320 for means of 0.0777, 0.5007, 0.8310 by simulation."""
    gate = hard([-3.0, 0.0, 2.0, 40.0, 40.0, 40.0]).eval()
    gate.log_alpha.data[3:] = 9.0
    assert gate.draw(None)[1:3].tolist() == pytest.approx([0.5, 0.8320], abs=5e-5)
    assert torch.sigmoid(torch.tensor(0.8 * -3)).item() == pytest.approx(0.0832, abs=5e-5)
    for log_alpha, simulated in ((-3, 0.0777), (0, 0.5007), (2, 0.8310)):
        assert expected(log_alpha) == pytest.approx(simulated, abs=1.5e-3)
        assert expected(log_alpha) == pytest.approx(1 / (1 + math.exp(-0.8 * log_alpha)), abs=0.006)


def test_another_temperature_is_evaluated_as_in_the_older_paper():
    """At 2/3 the mean of draws is 0.0605 and 0.8575 by simulation, where 0.8 would say 0.0266 and 0.9168."""
    gate = hard([1.0, 2.0, 9.0, 9.0], beta=2 / 3).eval()
    for log_alpha, simulated, otherwise in ((-3, 0.0605, 0.0266), (2, 0.8575, 0.9168)):
        assert expected(log_alpha, 2 / 3) == pytest.approx(simulated, abs=2e-3)
        assert 1 / (1 + math.exp(-0.8 * log_alpha * 1.5)) == pytest.approx(otherwise, abs=5e-5)
    assert gate.draw(None)[:2].tolist() == pytest.approx([1.2 / (1 + math.exp(-1.5)) - 0.1, 1], rel=1e-12)


def test_so_many_units_are_closed_in_evaluation_as_are_expected_to_be():
    """P of log α = -2.398 is 1/2: of these four, 2 are expected to be closed, the lowest first."""
    gate = hard([-math.log(11)] * 4).eval()
    assert gate.open().tolist() == pytest.approx([0.5] * 4)
    assert gate.keep().tolist() == [False, False, True, True]
    assert hard([-9.0, 9.0, -8.0, 9.0]).keep().tolist() == [False, True, False, True]
    assert (gate.draw(None) != 0).tolist() == gate.keep().tolist()


def test_the_penalty_is_the_expected_number_of_open_units():
    assert hard([-math.log(11)] * 6).penalty().item() == pytest.approx(3)


def test_a_component_of_a_factorised_layer_costs_its_row_and_its_column():
    model = nn.Sequential(nn.Linear(20, 6, bias=False), nn.Linear(6, 15))
    found = sites(model, torch.ones(1, 20))
    cost, share = parameters_of(model, found), hard([-math.log(11)] * 6).open()
    assert float(cost({})) - float(cost({"0": torch.arange(6) > 0})) == 20 + 15
    assert cost({"0": share}).item() == pytest.approx(15 + (20 + 15) * 3)


# ---- beta-Bernoulli: Madaan, Shin, Hwang 2020 ----


def beta(start, b=None, **options):
    """A gate with these a', and with b' if given; else b is 1."""
    gate = BetaBernoulli(len(start), **options).double()
    gate.a.data = torch.tensor(start, dtype=torch.float64)
    if b is not None:
        gate.b.data = torch.tensor(b, dtype=torch.float64)
    return gate


@pytest.mark.parametrize(("start", "a", "mean"), [(-1.0, 0.31, 0.24), (2.0, 2.13, 0.68)])
def test_the_gates_that_the_authors_begin_with(start, a, mean):
    """With b = 1, E[π] is a / (1 + a)."""
    gate = BetaBernoulli(2, start=start).double()
    found = nn.functional.softplus(gate.a)[0].item()
    assert round(found, 2) == a
    assert nn.functional.softplus(gate.b)[0].item() == pytest.approx(1, abs=1e-7)
    assert gate.open()[0].item() == pytest.approx(found / (1 + found), rel=1e-7)
    assert round(gate.open()[0].item(), 2) == mean


def posteriors():
    """Of several shapes, and many draws of π from each."""
    gate = beta([-1.0, 2.0, 0.5, 4.0], [0.5413, 0.5413, 2.0, -1.0])
    a, b = (nn.functional.softplus(each)[:, None] for each in (gate.a.detach(), gate.b.detach()))
    u = torch.rand(4, 100_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return gate, a, b, u, (1 - u ** (1 / b)) ** (1 / a)


def test_the_mean_against_monte_carlo():
    gate, *_, pi = posteriors()
    torch.testing.assert_close(gate.open().detach(), pi.mean(1), rtol=0.01, atol=0)


def test_the_divergence_against_monte_carlo():
    """E of the log of both densities, worked out at draws from the posterior."""
    gate, a, b, u, pi = posteriors()
    log_posterior = (a * b).log() + (a - 1) * pi.log() + (b - 1) / b * u.log()  # 1 - π^a is u^(1/b)
    log_prior = math.log(1e-4) + (1e-4 - 1) * pi.log()
    each = [beta([s], [t]).penalty().item() for s, t in zip(gate.a.tolist(), gate.b.tolist(), strict=True)]
    torch.testing.assert_close(torch.tensor(each).double(), (log_posterior - log_prior).mean(1), rtol=0.01, atol=0)
    assert gate.penalty().item() == pytest.approx(sum(each), rel=1e-12)
    assert beta([2.0]).penalty().item() == pytest.approx(9, abs=0.1)  # nats a unit, of what VGG begins with


def test_a_posterior_that_is_the_prior_diverges_by_nothing():
    """Kumaraswamy(α, 1) is Beta(α, 1)."""
    gate = BetaBernoulli(3, start=-1.0, alpha=math.log1p(math.exp(-1.0))).double()
    assert gate.penalty().item() == pytest.approx(0, abs=1e-7)


def test_masks_are_drawn_for_each_sample_and_open_as_often_as_said():
    gate = beta([-1.0, 2.0, 5.0])
    x = torch.zeros(50, 3)
    with seeded(0), torch.no_grad():
        drawn = torch.stack([gate.draw(x) for _ in range(500)])
    assert drawn.shape == (500, 50, 3)
    assert (drawn[0].std(0) > 0).all()
    torch.testing.assert_close((drawn > 0.5).double().mean((0, 1)), gate.open().detach(), rtol=0, atol=0.04)
    near = ((drawn < 0.01) | (drawn > 0.99)).double().mean()
    assert near > 0.5  # of draws at a temperature of 0.1


def test_one_probability_a_pass_and_all_samples_share_it():
    """Of b so small that π is 0 or 1 in each pass, all samples are open, or none."""
    gate = beta([-9.0], [-1.0])
    x = torch.zeros(40, 1)
    with seeded(0), torch.no_grad():
        shares = torch.stack([(gate.draw(x) > 0.5).double().mean() for _ in range(200)])
    assert ((shares < 0.2) | (shares > 0.8)).double().mean() > 0.9
    assert shares.min() < 0.2 < 0.8 < shares.max()


def test_evaluated_a_unit_is_its_mean_or_nothing():
    gate = beta([-1.0, -8.0, 2.0]).eval()  # 0.24, 3e-4, 0.68
    assert gate.keep().tolist() == [True, False, True]
    assert torch.equal(gate.draw(torch.zeros(9, 3)), gate.open() * gate.keep())
    assert beta([-8.0, -9.0]).keep().tolist() == [True, False]  # a site keeps its best unit


@pytest.mark.parametrize("at", [-60.0, 60.0])
def test_far_out_everything_stays_finite(at):
    for a, b in ((at, at), (at, -at), (at, 0.0), (0.0, at)):
        gate = BetaBernoulli(3)
        gate.a.data.fill_(a)
        gate.b.data.fill_(b)
        with seeded(0):
            value = gate.draw(torch.zeros(4, 3)).sum() + gate.penalty() + gate.open().sum()
        value.backward()
        assert torch.isfinite(value)
        assert torch.isfinite(gate.a.grad).all()
        assert torch.isfinite(gate.b.grad).all()


def test_a_gate_that_draws_for_each_sample_in_training_bakes_in_any_mode():
    network, _, inputs = gated(make=BetaBernoulli)
    network.train()
    baked, _ = network.bake()
    assert network.gates["0"].training
    torch.testing.assert_close(baked(inputs), network.eval()(inputs), rtol=0, atol=1e-12)


# ---- clamp: Wang et al. 2020 ----


def test_clamped_after_every_step():
    gate = Clamp(4)
    gate.value.data = torch.tensor([-0.5, 0.25, 1.5, 1.0])
    assert gate.draw(None).tolist() == gate.open().tolist() == [0, 0.25, 1, 1]
    gate.clamp_()
    assert gate.value.tolist() == [0, 0.25, 1, 1]
    assert gate.keep().tolist() == [False, True, True, True]
    gate.draw(None).sum().backward()
    assert gate.value.grad.tolist() == [1, 1, 1, 1]  # from either end it may come back


def test_equal_values_are_told_apart_by_how_far_open_they_were():
    gate = Clamp(5)
    for values in ([1, 1, 0.5, 0, 1], [0, 1, 0.5, 0, 0.5], [0, 1, 0.5, 0, 1]):
        gate.value.data = torch.tensor(values).float()
        gate.clamp_()
    rank = gate.rank()
    assert rank.argsort().tolist() == [3, 0, 2, 4, 1]
    assert rank[2] == 0.5
    assert (rank < 0).tolist() == [True, False, False, True, False]


# ---- the gated network ----


def gated(model=None, make=HardConcrete, **options):
    model, inputs = model or seeded_model(), tiny_samples().inputs
    found = sites(model, inputs)
    gates = {site.name: make(site.units).double() for site in found}
    return Gated(model, gates, points(model, found, inputs), **options), found, inputs


def test_names():
    network, found, _ = gated(nn.ModuleDict({"a": seeded_model()})["a"], extra={"price": nn.Parameter(torch.zeros(2))})
    assert [site.name for site in found] == ["0", "2"]
    assert [name for name, _ in network.named_parameters()][-3:] == [
        "gates.0.log_alpha",
        "gates.2.log_alpha",
        "extra.price",
    ]
    deep, _, _ = gated(nn.Sequential(seeded_model()))
    assert list(deep.gates) == ["0/0", "0/2"]
    assert list(deep.open()) == list(deep.keep()) == list(deep.by_site()) == ["0.0", "0.2"]


def test_a_run_counts_what_would_go():
    """Of 6-8-8-3 the rows of 2 units of the first layer: 12 of 136 weights."""
    run = start(tiny_task())
    network, _, _ = gated(run.model, Clamp)
    network.gates["0"].value.data[:2] = 0
    run.become(network)
    assert run.sparsity() == 12 / 136
    assert set(decided(network)) == {"model.0.weight", "model.0.bias", "model.2.weight", "model.2.bias"}


def test_baked_and_shrunk():
    network, found, inputs = gated()
    with torch.no_grad(), seeded(5):
        for gate in network.gates.values():
            gate.log_alpha.copy_(3 * torch.randn(8))
    network.train()
    baked, keep = network.bake()
    assert network.gates["0"].training  # as it was
    small = shrink(baked, keep, found, example=inputs).model
    torch.testing.assert_close(small(inputs), network.eval()(inputs), rtol=0, atol=1e-12)
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in baked.parameters())


def test_the_same_draws_in_two_losses_and_then_others():
    network, _, inputs = gated()
    with seeded(0), network.drawn():
        first = network(inputs)
        attack = network(inputs + 1e-3)
        (first.sum() + attack.sum()).backward()
        network(inputs).sum().backward()  # drawn anew, with the same numbers
    with seeded(0):
        other = network(inputs)
    assert not torch.equal(first, other)
    torch.testing.assert_close(first, attack, rtol=0, atol=0.05)


class Pooled(UnitGate):
    """By the mean of each sample."""

    per_sample = True

    def __init__(self, units):
        super().__init__(units)
        self.slope = nn.Parameter(torch.linspace(-1, 1, units))

    def draw(self, x):
        return torch.sigmoid(self.slope * x.flatten(1).mean(1, keepdim=True))

    def open(self):
        return torch.ones(1, self.units)

    def keep(self):
        return torch.ones(self.units, dtype=torch.bool)


def test_a_gate_that_is_per_sample_multiplies_outputs():
    network, _, inputs = gated(make=Pooled)
    layer, value = network.model[0], torch.sigmoid(network.gates["0"].slope * inputs.mean(1, keepdim=True))
    seen = []
    hook = network.model[1].register_forward_hook(lambda module, x, y: seen.append(x[0]))
    network(inputs)
    hook.remove()
    torch.testing.assert_close(seen[0], layer(inputs) * value)


def test_sequences_are_multiplied_sample_by_sample():
    model, inputs = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)).double(), torch.randn(4, 7, 3).double()
    found = sites(model, inputs)
    network = Gated(model, {"0": Pooled(5).double()}, points(model, found, inputs))
    value = torch.sigmoid(network.gates["0"].slope * inputs.flatten(1).mean(1, keepdim=True))[:, None]
    torch.testing.assert_close(network(inputs), model[2](model[1](model[0](inputs) * value)))


def test_refusals():
    model, inputs = seeded_model(), tiny_samples().inputs
    places = points(model, sites(model, inputs), inputs)
    with pytest.raises(InputError, match="unknown site '1'"):
        Gated(model, {"1": Clamp(8)}, places)
    with pytest.raises(InputError, match="gate of site '0' is for 7 units, the site has 8"):
        Gated(model, {"0": Clamp(7)}, places)
    with pytest.raises(
        InputError, match=r"gate of site '0' is <class .*HardConcrete'>; give a UnitGate for its 8 units"
    ):
        Gated(model, {"0": HardConcrete}, places)
    with pytest.raises(InputError, match="points of site '0' are not of this network"):
        Gated(nn.Sequential(nn.Linear(6, 9)), {"0": Clamp(8)}, places)
    with pytest.raises(InputError, match="gate of site '0' is per sample, so no one network"):
        gated(make=Pooled)[0].bake()
    with pytest.raises(InputError, match="units is 0"):
        Clamp(0)
    with pytest.raises(InputError, match=r"drop=1.0, beta=1.0: give a probability in \(0, 1\)"):
        HardConcrete(3, drop=1.0)
    with pytest.raises(InputError, match=r"start=2.0, alpha=0, tau=0.1, threshold=0.001: give a start within"):
        BetaBernoulli(3, alpha=0)
    network, _, inputs = gated(make=Pooled)
    network.gates["0"].draw = lambda x: torch.ones(3, 8)
    with pytest.raises(InputError, match="gives 3 rows, but layer '0' sees 48"):
        network(inputs)


def test_a_parameter_of_the_models_own_code_has_no_outputs_to_multiply():
    class Bare(nn.Module):
        def __init__(self):
            super().__init__()
            self.w, self.out = nn.Parameter(torch.randn(5, 3)), nn.Linear(5, 2)

        def forward(self, x):
            return self.out((x @ self.w.T).relu())

    model, inputs = Bare(), torch.randn(4, 3)
    places = points(model, sites(model, inputs), inputs)
    (name,) = places
    Gated(model, {name: Clamp(5)}, places)(inputs)
    with pytest.raises(InputError, match="scaled at 'w', which is no layer of torch's"):
        Gated(model, {name: Pooled(5)}, places)
