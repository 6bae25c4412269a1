"""SNIP: how much the loss would feel it if the connection were weakened: |w dL/dw|, on a few samples before training.

    s_oi = |w_oi * g_oi|,   g = sum over samples of dL/dw = dL/dc of L(c * w) / w, at c = 1

Paper: Lee, Ajanthan, Torr, "SNIP: Single-shot network pruning based on connection sensitivity", arXiv:1810.02340, 2019.
Differs: not divided by the sum over all connections, which changes no ranking. Biases are not scored. Seen in
evaluation mode (`observe`), where batch normalisation uses its running statistics.
"""

from torch import Tensor

from sapwood.scoring.criterion import Criterion, Seen
from sapwood.scoring.statistics import weight_grad


def score(w_OI: Tensor, seen: Seen) -> Tensor:
    """The signed gradients of all samples are summed first; the absolute value is taken once."""
    return (w_OI * seen[weight_grad]).abs()


snip = Criterion(score, needs=(weight_grad,), rescaling_invariant=True)
