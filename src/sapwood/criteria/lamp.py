"""LAMP: the squared weight relative to the sum of those that would outlive it: layer-adaptive magnitude.

    s_u = w_u^2 / sum of w_v^2 over all v of the layer with w_v^2 >= w_u^2

In one ranking over all layers (`select.everywhere`) it chooses how much each layer loses; inside a layer the order is
that of |w|. The largest weight of every layer scores 1, so no layer is emptied while another has two weights left.

Paper: Lee, Park, Mo, Ahn, Shin, "Layer-adaptive sparsity for the magnitude-based pruning", arXiv:2010.07611, ICLR 2021.
Differs: equal weights share one score, where the authors' sort settles them by position.
"""

import torch
from torch import Tensor

from sapwood.scoring.criterion import Criterion, Seen


def score(w_OI: Tensor, seen: Seen) -> Tensor:
    """Squares over the sums of the squares not below them; a weight of 0 scores 0."""
    squares = w_OI.double().square().flatten()
    ordered = squares.sort().values
    not_below = ordered.flip(0).cumsum(0).flip(0)  # at each place: the sum from there to the largest
    sums = not_below[torch.searchsorted(ordered, squares)]  # of equals the first place, where all of them are counted
    return torch.where(squares > 0, squares / sums, 0.0).view(w_OI.shape)


lamp = Criterion(score)
