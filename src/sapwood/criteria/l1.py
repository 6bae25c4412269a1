"""L1: the sum of the absolute weights of a filter.

    s_j = sum_r |w_jr|

Paper: Li, Kadav, Durdanovic, Samet, Graf, "Pruning filters for efficient ConvNets", arXiv:1608.08710, ICLR 2017,
section 3.1.
Differs: of a unit that several layers make, the mean of their sums; in the paper its shortcut decides.
"""

from torch import Tensor

from sapwood.scoring.unit_criterion import UnitCriterion


def score(w_UR: Tensor) -> Tensor:
    """The sum of each row's absolute values."""
    return w_UR.double().abs().sum(1)


l1 = UnitCriterion(score)
