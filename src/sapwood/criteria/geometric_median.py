"""Geometric median: how far a filter is from all others of its layer; those that others can stand in for go first.

    s_j = sum_i |w_j - w_i|₂

Paper: He, Liu, Wang, Hu, Yang, "Filter pruning via geometric median for deep convolutional neural networks
acceleration", arXiv:1811.00250, CVPR 2019, equation 8 (FPGM).
Differs: distances are Euclidean, as in the paper; a known re-implementation squares the weights before.
"""

import torch
from torch import Tensor

from sapwood.scoring.unit_criterion import UnitCriterion


def score(w_UR: Tensor) -> Tensor:
    """The sum of each row's distances to all rows."""
    w = w_UR.double()
    return torch.cdist(w, w, compute_mode="donot_use_mm_for_euclid_dist").sum(1)


geometric_median = UnitCriterion(score)
