"""Taylor, of weights: the squared change of the loss, to first order, that removing each weight of a filter would make.

    s_j = mean over batches of sum_r (g_jr w_jr)²,      g the gradient of a batch's loss

Paper: Molchanov, Mallya, Tyree, Frosio, Kautz, "Importance estimation for neural network pruning", arXiv:1906.10771,
CVPR 2019, equation 8.
Differs: in evaluation mode, on the weights that make a unit; the paper's gate behind a batch norm is `taylor_unit`.
"""

from torch import Tensor

from sapwood.scoring.unit_criterion import UnitCriterion


def score(gw_UR: Tensor) -> Tensor:
    """The sum of each row's squares."""
    return gw_UR.double().square().sum(1)


taylor_weight = UnitCriterion(score, backward=True)
