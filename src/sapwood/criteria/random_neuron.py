"""Random neuron: luck per neuron, as a control for criteria that remove whole neurons.

    s_o = frac(sum_i mix(w_oi) / 2^32)      (mix as in random_)

A sum of independent uniform numbers, wrapped around 1, is uniform whatever their number: every neuron of every layer
has the same chance. A plain sum or mean of random scores has not: it grows, or narrows, with the number of inputs, and
a ranking over several layers would take the neurons of one layer first.
Differs: two neurons with the same weights get the same score, which ties by position settle.
"""

from torch import Tensor

from sapwood.criteria.random_ import MASK, mixed
from sapwood.scoring.criterion import Criterion, Seen
from sapwood.scoring.unit_criterion import UnitCriterion


def score(w_OI: Tensor, seen: Seen) -> Tensor:
    """A number in [0, 1) per neuron."""
    return (mixed(w_OI).sum(1) & MASK).double() / 2**32


random_neuron = Criterion(score, per="output")
random_unit = UnitCriterion(lambda w_UR: score(w_UR, {}))
