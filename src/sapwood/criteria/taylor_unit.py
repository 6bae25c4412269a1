"""Taylor, of units: how much the loss of a sample would change, to first order, without the unit's outputs.

    s_c = mean over samples of | mean over places of a_c dL/da_c |,      then divided by the layer's L2 norm

Paper: Molchanov, Tyree, Karras, Aila, Kautz, "Pruning convolutional neural networks for resource efficient inference",
arXiv:1611.06440, ICLR 2017, equations 8 and 9.
Differs: a_c is the output before the ReLU, for which a dL/da is the same; L is the sample's own loss, in evaluation.
"""

from torch import Tensor

from sapwood.scoring.unit_criterion import UnitCriterion


def score(ga_NUP: Tensor) -> Tensor:
    """The sum over samples of the size of each unit's mean over places."""
    return ga_NUP.double().reshape(*ga_NUP.shape[:2], -1).mean(2).abs().sum(0)


taylor_unit = UnitCriterion(score, of="outputs", backward=True, norm="l2")
