"""Every gate under the laws of gates, and every file of gates in the table."""

from pathlib import Path

import pytest
import torch
from torch import nn

from sapwood import gates
from sapwood.checks import gate

LAWS = {law: body for name, make in gates.GATES.items() for law, body in gate.laws(name, make).items()}


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_gate(law):
    law()


def test_every_gate_is_in_the_table():
    files = {path.stem for path in Path(gates.__file__).parent.glob("*.py")}
    others = {"__init__", "gated", "interpolated", "lagrangian", "point", "unit_gate", "weight_gate"}
    assert files - others == {*gates.GATES, *gates.UNIT_GATES}


def test_older_names_say_what_they_are_called_now():
    with pytest.warns(DeprecationWarning, match="Gate is WeightGate now"):
        assert gates.Gate is gates.WeightGate
    layer = nn.Linear(3, 2)
    with pytest.warns(DeprecationWarning, match="is WeightGated now"):
        gated = gates.Gated(nn.Sequential(layer), {"0": gates.VariationalDropout(layer.weight)})
    assert type(gated) is gates.WeightGated


def test_a_gate_that_lets_everything_pass_is_caught():
    class Open(gates.WeightGate):
        def act(self, layer, x, y):
            return y

        def score(self, w):
            return w

        def keep(self, w):
            return torch.ones_like(w, dtype=torch.bool)

        def penalty(self, w):
            return w.sum() * 0

    held = {result.law for result in gate.check_gate("open", lambda w: Open()) if result.passed}
    assert held == {
        "gate open: made anew, it lets a layer's outputs pass as they are",
        "gate open: gradients reach the gate and the network",
    }
