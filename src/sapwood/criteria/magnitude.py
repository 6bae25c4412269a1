"""Magnitude: the absolute value of the weight.

    s_oi = |w_oi|

Paper: Han, Pool, Tran, Dally, "Learning both weights and connections for efficient neural networks", NeurIPS 2015.
Differs: Han's threshold is a multiple of the layer's standard deviation; here selection is left to `select`.
"""

from torch import Tensor

from sapwood.scoring.criterion import Criterion, Seen


def score(w_OI: Tensor, seen: Seen) -> Tensor:
    """|w|."""
    return w_OI.abs()


magnitude = Criterion(score)
