"""HRank: the mean rank of a channel's feature maps, as matrices of height by width.

    s_c = mean over samples of rank(relu(a_c)),      a_c [height, width]

Paper: Lin, Ji, Wang, Zhang, Zhang, Tian, Shao, "HRank: filter pruning using high-rank feature map", arXiv:2002.10179,
CVPR 2020, equation 5.
Differs: in float64, with the tolerance of `torch.linalg.matrix_rank`; of a residual stream the mean over all places
where it is scaled last; what a linear layer gives is a map of 1 x 1, whose rank is 1 where it is positive.
"""

import torch
from torch import Tensor

from sapwood.errors import InputError
from sapwood.scoring.unit_criterion import UnitCriterion


def score(a_NUHW: Tensor) -> Tensor:
    """The sum over samples of each map's rank. InputError if units do not give maps of two dimensions."""
    maps = a_NUHW[:, :, None, None] if a_NUHW.dim() == 2 else a_NUHW
    if maps.dim() != 4:
        raise InputError(
            f"hrank needs maps of height and width, and the units of a site give outputs of shape "
            f"{tuple(a_NUHW.shape)} (samples, units, ...); score sites of convolutions only, or by another criterion"
        )
    ranks: Tensor = torch.linalg.matrix_rank(maps.double().relu())
    return ranks.double().sum(0)


hrank = UnitCriterion(score, of="outputs")
