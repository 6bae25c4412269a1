"""Inactive magnitude (compatibility only): |w| times how often its neuron did *not* fire.

    s_oi = |w_oi| * number of samples with output_o = 0

Source: the code released with Ganguli & Chong 2024 as of July 2023, score *Neurons & Weights*; the ranks printed
for their local rows fit this score and not the published algorithm. Not a criterion to prune with.
"""

from torch import Tensor

from sapwood.scoring.criterion import Criterion, Seen
from sapwood.scoring.statistics import inactive as silent


def score(w_OI: Tensor, seen: Seen) -> Tensor:
    """Inverted counter times absolute value."""
    return w_OI.abs() * seen[silent][:, None]


inactive_magnitude = Criterion(score, needs=(silent,))
