"""Activity: on how many samples the neuron fired. The paper's importance score *Neurons*.

    s_o = a_o = number of samples (and positions) with output > 0 after the ReLU

Paper: Ganguli & Chong, "Activation-based pruning of neural networks", Algorithms 17(1):48, 2024, Algorithms 2 and 5.
Differs: nothing known from the text; the code released in 2023 counts zeros instead, which is `inactive`.
"""

from torch import Tensor

from sapwood.scoring.criterion import Criterion, Seen
from sapwood.scoring.statistics import active


def score(w_OI: Tensor, seen: Seen) -> Tensor:
    """The neuron's activation counter."""
    return seen[active]


activity = Criterion(score, needs=(active,), per="output", rescaling_invariant=True)
