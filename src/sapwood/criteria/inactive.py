"""Inactive (compatibility only): on how many samples the neuron did *not* fire, so the most active ones go first.

    s_o = number of samples with output = 0

Source: the code released with Ganguli & Chong 2024 as of July 2023, which contradicts their paper; used to
reproduce what that code does, and as a control. Not a criterion to prune with.
"""

from torch import Tensor

from sapwood.scoring.criterion import Criterion, Seen
from sapwood.scoring.statistics import inactive as silent


def score(w_OI: Tensor, seen: Seen) -> Tensor:
    """The inverted counter."""
    return seen[silent]


inactive = Criterion(score, needs=(silent,), per="output", rescaling_invariant=True)
