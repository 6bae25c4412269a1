"""Multipliers hold any gate to a budget: worked by hand, met in a toy problem, and part of a network's state."""

import pytest
import torch
from planted.constraining import UNITS, held_to, laws
from torch import nn

from sapwood import InputError, points, sites
from sapwood.gates import BetaBernoulli, Clamp, Gated, HardConcrete, Lagrangian

LAWS = laws()


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_lagrangian(law):
    law()


@pytest.mark.parametrize("make", [BetaBernoulli, Clamp])
def test_any_gate_meets_the_budget_and_what_is_worth_most_stays(make):
    """Two things: a budget can be met by the wrong units."""
    removed, order = held_to(make(UNITS).double(), 0.5)
    assert removed == pytest.approx(0.5, abs=0.03)
    assert (order[UNITS // 2 :] >= UNITS // 2).double().mean() > 0.9


@pytest.mark.parametrize(("removed", "moves"), [(0.2, -0.1), (0.7, 0.1)])
def test_a_multiplier_moves_so_that_the_gap_closes(removed, moves):
    """Too little is removed: it falls below 0, and more removed makes the loss smaller."""
    held = Lagrangian(0.5).double()
    climbing = held.ascent(0.1)
    held(torch.tensor(removed, dtype=torch.float64), 0).backward()
    assert held.linear.grad.item() == pytest.approx(removed - 0.5)
    assert held.square.grad.item() == pytest.approx((removed - 0.5) ** 2)
    climbing.step()
    assert held.linear.item() == pytest.approx(moves)
    assert held.square.item() == pytest.approx(0.1)


def test_multipliers_are_part_of_the_gated_networks_state():
    def made():
        torch.manual_seed(0)
        model, x = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)), torch.rand(1, 4)
        found, held = sites(model, x), Lagrangian(0.5)
        gates = {site.name: HardConcrete(site.units) for site in found}
        return Gated(model, gates, points(model, found, x), dict(held.named_parameters())), held

    (one, held), (other, again) = made(), made()
    held.linear.data.fill_(3.0)
    other.load_state_dict(one.state_dict())
    assert again.linear.item() == 3.0


@pytest.mark.parametrize("bad", [{"target": 1.0}, {"target": -0.1}, {"target": 0.5, "warmup": -1}])
def test_bad_targets(bad):
    with pytest.raises(InputError, match="give the share to be removed"):
        Lagrangian(**bad)
