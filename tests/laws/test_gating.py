"""Every gate under the laws of gates, and every file of gates in the table."""

from pathlib import Path

import pytest
import torch

from sapwood import gates
from sapwood.checks import gate

LAWS = {law: body for name, make in gates.GATES.items() for law, body in gate.laws(name, make).items()}


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_gate(law):
    law()


def test_every_gate_is_in_the_table():
    files = {path.stem for path in Path(gates.__file__).parent.glob("*.py")} - {"__init__", "gate"}
    assert files == set(gates.GATES)


def test_a_gate_that_lets_everything_pass_is_caught():
    class Open(gates.Gate):
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
