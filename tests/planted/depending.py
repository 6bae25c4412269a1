"""Laws of gates that depend on what a unit is, beside those of all gates, and bugs planted in them."""

from functools import partial

import torch
from planted.gating_units import noisy_for_good
from planted.mutant import bugs, instead
from torch import nn
from torch.distributions import Normal, kl_divergence

from sapwood import points, sites
from sapwood.checks import Laws, unit_gate
from sapwood.checks.law import demand
from sapwood.checks.tiny import seeded
from sapwood.gates import BetaBernoulli, DependentBetaBernoulli, Gated
from sapwood.gates import gated as passing

draw, means = DependentBetaBernoulli.draw, passing._means


def seen_by(model, site, x):
    """What the gate of a site is given in an evaluation, and the gate."""
    found = sites(model, x[:1])
    one = next(each for each in found if each.name == site)
    gate = DependentBetaBernoulli(one.units).double()
    given = []
    with torch.no_grad():
        gate.draw = lambda seen: given.append(seen) or draw(gate, seen)
        Gated(model, {site: gate}, points(model, [one], x[:1])).eval()(x)
    return given, gate


def dependent_laws() -> Laws:
    return {
        "dependent gate: it is given the mean of each unit, behind the norm, once a pass": _given,
        "dependent gate: in training units are open as often as is said": _frequency,
        "dependent gate: the penalty is the divergence of both posteriors": _penalty,
        "dependent gate: a sample's own units decide": _own,
    }


def _given() -> None:
    """Of a convolution with a norm behind it, and of a linear layer over tokens."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(2, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.Flatten(), nn.Linear(20, 3)]
    conv, tokens = nn.Sequential(*layers).double(), nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    conv[1].bias.data += torch.arange(5)
    cases = ((conv, 2, (2, 3), torch.randn(6, 2, 4, 4)), (tokens, 1, 1, torch.randn(6, 7, 3)))
    for model, behind, over, x in cases:
        x = x.double()
        given, _ = seen_by(model.eval(), "0", x)
        with torch.no_grad():
            gap = float((given[0] - model[:behind](x).mean(over)).abs().max())
        demand(len(given) == 1, f"it is asked {len(given)} times")
        demand(gap < 1e-12, f"it is given other numbers, by {gap:.1e}")


def _frequency() -> None:
    """With γ at 0 and σ small, c is η for all; the part that does not depend on samples is at its mean."""
    gate = DependentBetaBernoulli(3).double()
    gate.base.eval()
    with torch.no_grad(), seeded(0):
        gate.scale.zero_()
        gate.deviation.fill_(-20.0)
        gate.shift.copy_(torch.tensor([0.2, 0.5, 0.9]))
        drawn = gate.draw(torch.randn(20_000, 3, dtype=torch.float64))
        expected = gate.open()[0]
        share = drawn.mean(0)
    demand(bool(((share - expected).abs() < 0.02).all()), f"{share.tolist()}, not {expected.tolist()}")


def _penalty() -> None:
    gate = DependentBetaBernoulli(4, rho=1.7).double()
    with torch.no_grad(), seeded(0):
        for parameter in gate.parameters():
            parameter.copy_(torch.randn_like(parameter))
        posterior = Normal(gate.shift, nn.functional.softplus(gate.deviation))
        prior = Normal(torch.zeros_like(gate.shift), torch.full_like(gate.shift, 1.7))
        expected = float(gate.base.penalty() + kl_divergence(posterior, prior).sum())
        told = float(gate.penalty())
    demand(abs(told - expected) < 1e-9, f"{told}, not {expected}")


def _own() -> None:
    """A unit that is large opens, one that is small closes, whatever the others are."""
    gate = DependentBetaBernoulli(2).double().eval()
    h = torch.tensor([[9.0, -9.0], [-9.0, 9.0], [0.0, 0.0]], dtype=torch.float64)
    opened = (gate.draw(h) > 0).tolist()
    demand(opened == [[True, False], [False, True], [True, True]], f"open are {opened}")


def where_it_reads(point, y, units):
    """The mean of all units for each."""
    return means(point, y, units).mean(1, keepdim=True).expand(len(y), units)


def by_sums(point, y, units):
    return means(point, y, units) * y[0, 0].numel()


def of_the_batch(self, x):
    """Relative to those who are beside, in evaluation too."""
    return draw(self, x - x.mean(0) if len(x) > 1 else x)


def alike(self, x):
    """All samples as their mean."""
    return draw(self, x.mean(0, keepdim=True).expand(x.shape))


def once_open(self, x):
    """The product with π forgotten."""
    z = draw(self, x)
    return z if not self.training else z / self.base.open()


laws = partial(unit_gate.laws, "dependent_beta_bernoulli", partial(DependentBetaBernoulli, threshold=0.3))
MUTANTS = (
    *bugs(
        "unit gate dependent_beta_bernoulli",
        laws,
        {
            "noise is drawn in training only, and the same in every pass of `drawn`": {
                "a dependent gate noisy in evaluation": instead(DependentBetaBernoulli, "draw", noisy_for_good(draw)),
            },
            "each sample passes as it would alone": {
                "a dependent gate that goes by the batch": instead(DependentBetaBernoulli, "draw", of_the_batch),
            },
            "gradients reach the gate and the network": {
                "a dependent gate without a way back": instead(
                    DependentBetaBernoulli, "draw", lambda self, x: draw(self, x).detach()
                ),
            },
        },
    ),
    *bugs(
        "dependent gate",
        dependent_laws,
        {
            "it is given the mean of each unit, behind the norm, once a pass": {
                "every unit shown the mean of all": instead(passing, "_means", where_it_reads),
                "sums over positions for means": instead(passing, "_means", by_sums),
            },
            "in training units are open as often as is said": {
                "a draw without the part of all samples": instead(DependentBetaBernoulli, "draw", once_open),
            },
            "the penalty is the divergence of both posteriors": {
                "only what all samples share has a penalty": instead(
                    DependentBetaBernoulli, "penalty", lambda self: BetaBernoulli.penalty(self.base)
                ),
            },
            "a sample's own units decide": {
                "all samples decided as their mean": instead(DependentBetaBernoulli, "draw", alike),
            },
        },
    ),
)
