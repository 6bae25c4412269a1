"""APoZ: one minus the average percentage of zeros of the neuron's output.

    s_o = a_o / n        (APoZ itself is 1 - s_o; neurons with a high APoZ go)

Paper: Hu, Peng, Tai, Tang, "Network trimming", arXiv:1607.03250, 2016, equation 1.
Differs: ranks like `activity` inside a layer, and across layers when all saw equally many samples and positions. Of
units, the output is looked at behind the norm; of a residual stream the mean over all places where it is scaled.
"""

from torch import Tensor

from sapwood.scoring.criterion import Criterion, Seen
from sapwood.scoring.statistics import active, count
from sapwood.scoring.unit_criterion import UnitCriterion


def score(w_OI: Tensor, seen: Seen) -> Tensor:
    """The share of samples and positions with a positive output."""
    return seen[active].double() / seen[count]


def share(a_NUP: Tensor) -> Tensor:
    """The sum over samples of the share of places with a positive output."""
    return (a_NUP > 0).double().reshape(*a_NUP.shape[:2], -1).mean(2).sum(0)


apoz = Criterion(score, needs=(active, count), per="output", rescaling_invariant=True)
apoz_of_units = UnitCriterion(share, of="outputs")
