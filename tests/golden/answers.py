"""Worked answers: small networks, and which of their layers feed others, by hand."""

import torch
from torch import nn

from sapwood.checks import Laws
from sapwood.checks.law import demand
from sapwood.scoring.answers import hidden


class Network(nn.Module):
    """A head defined before what it reads, a second head behind, and a layer that goes around the body."""

    def __init__(self, ends):
        super().__init__()
        self.ends = ends
        self.head, self.body, self.around = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        h = self.body(x).relu_()
        return {
            "one head": lambda: self.head(self.around(h)),
            "two heads": lambda: (self.head(h), self.around(h)),
            "a way around": lambda: self.head(h) + self.around(x),
        }[self.ends]()


GOLDEN = {
    "a classifier defined first": ("one head", ["body", "around"]),
    "two heads": ("two heads", ["body"]),
    "a way around the body": ("a way around", ["body"]),
}


def laws() -> Laws:
    """One law for each network, with and without an example."""
    return {f"hidden layers: {claim}": lambda claim=claim: _agrees(claim) for claim in GOLDEN}


def _agrees(claim: str) -> None:
    ends, expected = GOLDEN[claim]
    for example in (None, torch.ones(2, 4)):
        found = hidden(Network(ends), example)
        demand(found == expected, f"{found}, by hand {expected}")
