"""Norm scale: the absolute scale of a channel's batch norm. What has no batch norm is not scored.

    s_c = |gamma_c|

Paper: Liu, Li, Shen, Huang, Yan, Zhang, "Learning efficient convolutional networks through network slimming",
arXiv:1708.06519, ICCV 2017, section 3.
Differs: of a channel that several norms scale, the mean of their scales.
"""

from torch import Tensor

from sapwood.scoring.unit_criterion import UnitCriterion


def score(gamma_U1: Tensor) -> Tensor:
    """The scale's size."""
    return gamma_U1.double().abs().sum(1)


norm_scale = UnitCriterion(score, of="norms")
