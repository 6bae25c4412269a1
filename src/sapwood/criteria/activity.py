"""Activity: on how many samples the neuron fired. The paper's importance score *Neurons*.

    s_o = a_o = number of samples (and positions) with output > 0 after the ReLU

Paper: Ganguli & Chong, "Activation-based pruning of neural networks", Algorithms 17(1):48, 2024, Algorithms 2 and 5.
Differs: nothing known from the text; the code released in 2023 counts zeros instead, which is `inactive`. Of units,
carried over to channels: all places count, behind the norm, as a mean over samples.
"""

from torch import Tensor

from sapwood.scoring.criterion import Criterion, Seen
from sapwood.scoring.statistics import active
from sapwood.scoring.unit_criterion import UnitCriterion


def score(w_OI: Tensor, seen: Seen) -> Tensor:
    """The neuron's activation counter."""
    return seen[active]


def fired(a_NUP: Tensor) -> Tensor:
    """At how many samples and places the output is positive."""
    return (a_NUP > 0).double().reshape(*a_NUP.shape[:2], -1).sum((0, 2))


activity = Criterion(score, needs=(active,), per="output", rescaling_invariant=True)
activity_of_units = UnitCriterion(fired, of="outputs")
