"""Active magnitude: |w| times how often its neuron fired. The paper's importance score *Neurons & Weights*.

    s_oi = a_o * |w_oi|

Paper: Ganguli & Chong, "Activation-based pruning of neural networks", Algorithms 17(1):48, 2024, Algorithm 3.
Differs: nothing known.
"""

from torch import Tensor

from sapwood.scoring.criterion import Criterion, Seen
from sapwood.scoring.statistics import active


def score(w_OI: Tensor, seen: Seen) -> Tensor:
    """Counter times absolute value."""
    return w_OI.abs() * seen[active][:, None]


active_magnitude = Criterion(score, needs=(active,))
