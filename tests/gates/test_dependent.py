"""Dependent beta-Bernoulli gates: worked by hand, their laws, what a sample costs, two stages, refusals."""

import math
from copy import deepcopy

import pytest
import torch
from planted.depending import dependent_laws
from torch import nn

from sapwood import InputError, macs_of, points, shrink, sites
from sapwood.checks.tiny import seeded
from sapwood.gates import BetaBernoulli, DependentBetaBernoulli, Gated

LAWS = dependent_laws()


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_dependent_gate(law):
    law()


def test_worked_by_hand():
    """(2 - 1) / 2 and (-3 - 1) / 2 give 0.4 / 2 + 0.3 and 0.5 - 2; E[π] is a / (1 + a) = 1/2."""
    gate = DependentBetaBernoulli(2, start=math.log(math.e - 1)).double().eval()
    gate.mean += 1
    gate.variance += 3 - 1e-5  # what a norm adds
    gate.scale.data = torch.tensor([0.4, 1.0], dtype=torch.float64)
    gate.shift.data = torch.tensor([0.3, 0.5], dtype=torch.float64)
    z = gate.draw(torch.tensor([[2.0, -3.0]], dtype=torch.float64))
    torch.testing.assert_close(z, torch.tensor([[0.25, 0.0]], dtype=torch.float64), rtol=0, atol=1e-9)
    assert z[0, 1] == 0  # 5e-7 is below the threshold
    torch.testing.assert_close(gate.open(), torch.tensor([[0.25, 5e-7]], dtype=torch.float64), rtol=0, atol=1e-9)


def test_the_divergence_that_the_authors_begin_with():
    """log √5 + 2 / 10 - 1 / 2 of each unit."""
    gate = DependentBetaBernoulli(3).double()
    found = (gate.penalty() - gate.base.penalty()).item()
    assert found == pytest.approx(3 * (math.log(5) / 2 + 0.2 - 0.5), abs=1e-6)
    same = DependentBetaBernoulli(3, shift=0.0, rho=1.0).double()
    assert same.penalty().item() == pytest.approx(same.base.penalty().item(), abs=1e-6)


def network(**options):
    """Gates on two sites, and eight samples that open different units."""
    with seeded(0):
        layers = [nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 10, 3), nn.ReLU(), nn.Flatten()]
        model = nn.Sequential(*layers, nn.Linear(10 * 16, 3)).double().eval()
        x = 3 * torch.randn(8, 1, 8, 8, dtype=torch.float64)
    found = sites(model, x[:1])
    gates = {site.name: DependentBetaBernoulli(site.units, shift=0.3, **options) for site in found}
    gated = Gated(model, gates, points(model, found, x[:1])).double()
    with seeded(1):
        for _ in range(30):
            gated.train()(x)  # the norms get to know what units are like
    return gated.eval(), found, x


def test_what_a_sample_costs_is_what_its_network_costs_and_the_mean_has_slopes():
    gated, found, x = network(threshold=0.1)
    cost = macs_of(gated.model, found, x[:1])
    masks = {name: (_drawn(gated, name, x) > 0).double() for name in gated.by_site()}
    each = cost(masks)
    assert each.unique().numel() > 1
    for n in range(len(x)):
        small = shrink(gated.model, {name: mask[n] > 0 for name, mask in masks.items()}, found, example=x[:1]).model
        assert float(each[n]) == float(macs_of(small, (), x[:1])({}))
    gated(x)
    expected = cost(gated.open())
    assert expected.shape == (len(x),)
    expected.mean().backward()
    for gate in gated.by_site().values():
        assert gate.shift.grad.any()
        assert gate.base.a.grad.any()


def _drawn(gated, name, x):
    """What one gate lets through."""
    found, gate = [], gated.by_site()[name]
    kept = gate.draw
    gate.draw = lambda seen: found.append(kept(seen)) or found[0]
    try:
        with torch.no_grad():
            gated(x)
    finally:
        del gate.draw
    return found[0]


def test_the_part_of_all_samples_is_trained_first():
    """A `BetaBernoulli` trained before is loaded as `base`; what it gives up is closed for every sample."""
    first = BetaBernoulli(4, start=2.0)
    first.a.data[1] = -9.5
    gate = DependentBetaBernoulli(4).eval()
    gate.base.load_state_dict(first.state_dict())
    assert gate.keep().tolist() == [True, False, True, True]
    assert (gate.draw(torch.full((2, 4), 5.0))[:, 1] == 0).all()


def test_the_norm_in_training_is_of_the_batch_and_is_remembered():
    gate, h = DependentBetaBernoulli(2), torch.tensor([[0.0, 4.0], [2.0, 8.0]])
    gate.draw(h)
    torch.testing.assert_close(gate.mean, torch.tensor([0.1, 0.6]))
    torch.testing.assert_close(
        gate.open() / gate.base.open(), torch.tensor([[1e-6, 1e-6], [1.0, 1.0]]), rtol=0, atol=1e-5
    )
    before = gate.mean.clone()
    gate.draw(h[:1])  # one sample has no spread
    assert torch.equal(gate.mean, before)


def test_no_gradient_passes_through_what_it_looks_at():
    gate, h = DependentBetaBernoulli(2), torch.randn(5, 2, requires_grad=True)
    gate.draw(h).sum().backward()
    assert h.grad is None


def test_it_is_copied_after_a_pass_that_has_a_graph_and_cannot_be_baked():
    gated, _, x = network()
    gated(x)
    again = deepcopy(gated)
    assert torch.equal(again(x), gated(x))
    with pytest.raises(InputError, match="gate of site '0' is per sample"):
        gated.bake()


def test_bad_input():
    for bad in ({"shift": float("nan")}, {"rho": 0.0}):
        with pytest.raises(InputError, match=r"shift=.*give a shift"):
            DependentBetaBernoulli(3, **bad)
    with pytest.raises(InputError, match="threshold="):
        DependentBetaBernoulli(3, threshold=2)
    with pytest.raises(InputError, match=r"\[samples, 3\], not \[4, 2\]"):
        DependentBetaBernoulli(3).draw(torch.zeros(4, 2))
    with pytest.raises(InputError, match="seen no sample yet"):
        DependentBetaBernoulli(3).open()
