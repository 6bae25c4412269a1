"""L2: the Euclidean norm of a filter.

    s_j = sqrt(sum_r w_jr²)

Paper: He, Kang, Dong, Fu, Yang, "Soft filter pruning for accelerating deep convolutional neural networks",
arXiv:1808.06866, IJCAI 2018, equation 2 with p = 2.
Differs: of a unit that several layers make, the mean of their norms.
"""

from torch import Tensor

from sapwood.scoring.unit_criterion import UnitCriterion


def score(w_UR: Tensor) -> Tensor:
    """The norm of each row."""
    return w_UR.double().square().sum(1).sqrt()


l2 = UnitCriterion(score)
