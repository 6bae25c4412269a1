"""Laws of the multipliers that hold gates to a budget, and bugs planted in them."""

import torch
from planted.mutant import bugs, instead
from planted.training import SAME_BITS
from torch.optim import Adam

from sapwood.checks import method
from sapwood.checks.law import demand
from sapwood.gates import Clamp, HardConcrete, Lagrangian
from sapwood.methods import METHODS

UNITS, STEPS, RATE = 40, 600, 0.05


def laws():
    """Of `Lagrangian`."""
    return {
        "lagrangian: a toy constraint is met, from either side": _met,
        "lagrangian: λ1 (s - t) + λ2 (s - t)², and t rises in a straight line": _worked,
    }


def held_to(gate, target):
    """The share that a gate removes in the end, when the loss of a unit grows with its number; and which it removes."""
    value = torch.linspace(0.1, 2, gate.units, dtype=torch.float64)
    held = Lagrangian(target, warmup=STEPS // 3).double()
    learning, climbing = Adam(gate.parameters(), lr=RATE), held.ascent(RATE)
    for step in range(STEPS):
        learning.zero_grad()
        climbing.zero_grad()
        closed = 1 - gate.open()
        ((value * closed).mean() + held(closed.mean(), step)).backward()
        learning.step()
        climbing.step()
        for parameter in gate.parameters():
            parameter.data.clamp_(-5, 5)
        if isinstance(gate, Clamp):
            gate.clamp_()
    return float((1 - gate.open()).mean().detach()), gate.open().detach().argsort()


def _met():
    for drop, target in ((0.05, 0.6), (0.99, 0.4)):
        found, _ = held_to(HardConcrete(UNITS, drop=drop).double(), target)
        demand(abs(found - target) < 0.02, f"{found:.3f} is removed, {target} was to be")


def _worked():
    held = Lagrangian(0.8, warmup=10).double()
    held.linear.data.fill_(3.0)
    held.square.data.fill_(2.0)
    for step, target in ((0, 0.0), (5, 0.4), (9, 0.72), (10, 0.8), (99, 0.8)):
        gap = 0.5 - target
        found = float(held(torch.tensor(0.5, dtype=torch.float64), step).detach())
        demand(abs(found - 3 * gap - 2 * gap**2) < 1e-12, f"at step {step}: {found}, the gap is {gap}")


def method_laws():
    """Gates on frozen weights, held by multipliers."""
    options = {"macs": 0.6, "pull": "macs", "rate": 0.2, "gate_epochs": 2, "epochs": 1, "warmup": 1.0}
    return method.laws("pruning_from_scratch", METHODS["pruning_from_scratch"], **options)


def descending(self, rate):
    return Adam(self.parameters(), lr=rate)


def without_sign(self, removed, step, forward=Lagrangian.forward):
    return forward(self, (removed - self.at(step)).abs() + self.at(step), step)


def by_calls(self, step, at=Lagrangian.at):
    """How often it was asked is in no checkpoint."""
    self.calls = getattr(self, "calls", -1) + 1
    return at(self, self.calls)


MUTANTS = (
    *bugs(
        "lagrangian",
        laws,
        {
            "a toy constraint is met, from either side": {
                "multipliers that minimise": instead(Lagrangian, "ascent", descending),
            },
            "λ1 (s - t) + λ2 (s - t)², and t rises in a straight line": {
                "too much is as bad as too little": instead(Lagrangian, "forward", without_sign),
                "a target without a warm-up": instead(Lagrangian, "at", lambda self, step: self.target),
            },
        },
    ),
    *bugs(
        "method pruning_from_scratch",
        method_laws,
        {SAME_BITS: {"a warm-up that counts what this life has seen": instead(Lagrangian, "at", by_calls)}},
    ),
)
