"""Every gate on units under their laws, one that is per sample too; and what the laws catch."""

from functools import partial

import pytest
import torch
from planted.gating_units import ByInput
from torch import nn

from sapwood.checks import broken, unit_gate
from sapwood.gates import UNIT_GATES, BetaBernoulli, DependentBetaBernoulli, UnitGate


class Careless(UnitGate):
    """Its decision is not what it draws, and what is open has no gradient."""

    def __init__(self, units):
        super().__init__(units)
        self.value = nn.Parameter(torch.ones(units))

    def draw(self, x):
        return self.value.clamp(0, 1)

    def open(self):
        return self.value.detach().clamp(0, 1)

    def keep(self):
        return self.value > 0.5


# At its own threshold almost no unit goes where a law moves parameters to, and a law wants some to.
GATES = {
    **UNIT_GATES,
    "beta_bernoulli": partial(BetaBernoulli, threshold=0.7),
    "dependent_beta_bernoulli": partial(DependentBetaBernoulli, threshold=0.3),
    "by_input": ByInput,
}
LAWS = {law: body for name, make in GATES.items() for law, body in unit_gate.laws(name, make).items()}


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_unit_gate(law):
    law()


def test_a_careless_gate_is_caught():
    failed = [result.law.partition(": ")[2] for result in broken(unit_gate.check_unit_gate("careless", Careless))]
    assert failed == [
        "values and what is open are from 0 to 1, one for each unit; exactly what goes is 0",
        "with units closed it is the network without them",
        "the slope of the expected cost is that of differences",
    ]
