"""Mean activation: how strongly the neuron fires on average, after the ReLU.

    s_o = (sum over samples and positions of relu(y_o)) / n

Paper: Molchanov, Tyree, Karras, Aila, Kautz, "Pruning convolutional neural networks for resource efficient
inference", ICLR 2017, section 2.2 (mean activation).
Differs: without their normalisation per layer.
"""

from torch import Tensor

from sapwood.scoring.criterion import Criterion, Seen
from sapwood.scoring.statistics import count, output_sum


def score(w_OI: Tensor, seen: Seen) -> Tensor:
    """The average positive output."""
    return seen[output_sum] / seen[count]


mean_activation = Criterion(score, needs=(output_sum, count), per="output")
