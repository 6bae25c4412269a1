"""Group L2: the squares of all weights that would go with a unit, as dependency graphs score their groups.

    s_u = mean over tensors of the unit's group of sum_r w_ur²;   then divided by the mean of the group's units

Paper: Fang, Ma, Song, Mi, Wang, "DepGraph: towards any structural pruning", arXiv:2301.12900, CVPR 2023, equation 4;
the mean over tensors and the normaliser are defaults of the authors' code.
Differs: a tensor that makes and reads a unit counts once; biases and running statistics do not count, as there.
"""

from torch import Tensor

from sapwood.scoring.unit_criterion import UnitCriterion


def score(w_UR: Tensor) -> Tensor:
    """The sum of each row's squares."""
    return w_UR.double().square().sum(1)


group_l2 = UnitCriterion(score, of="group", norm="mean")
