"""Bugs planted in saliency gates."""

from functools import partial

import torch
from planted.gating_units import before_the_norm
from planted.mutant import bugs, instead

from sapwood.checks import unit_gate
from sapwood.gates import Saliency

draw, decided = Saliency.draw, Saliency.decided


def beside_others(self, a):
    """A unit is open for a sample if it is worth more to it than to the batch."""
    return decided(self, a - a.mean(0)) if len(a) > 1 else decided(self, a)


def always_noisy(self, x):
    mode, self.training = self.training, True
    try:
        return draw(self, x)
    finally:
        self.training = mode


laws = partial(unit_gate.laws, "saliency", Saliency)
MUTANTS = bugs(
    "unit gate saliency",
    laws,
    {
        "each sample passes as it would alone": {
            "a sample's decisions relative to its batch": instead(Saliency, "decided", beside_others),
        },
        "what a sample does not keep is as removed, per sample": {
            "a per-sample gate before the norm": instead(unit_gate, "points", before_the_norm),
        },
        "gradients reach the gate and the network": {
            "decisions without a way back": instead(Saliency, "draw", lambda self, x: draw(self, x).detach()),
        },
        "noise is drawn in training only, and the same in every pass of `drawn`": {
            "a saliency gate noisy in evaluation": instead(Saliency, "draw", always_noisy),
        },
        "the slope of the expected cost is that of differences": {
            "what is open as hard as the decision": instead(
                Saliency, "open", lambda self: self.decided(self.scores) + 0 * torch.sigmoid(self.scores)
            ),
        },
    },
)
