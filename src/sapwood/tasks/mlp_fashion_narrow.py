"""mlp_fashion_narrow: 784-107-72-36-18-10 on Fashion-MNIST, as large as what a pruned mlp_fashion has left.

Data and recipe are mlp_fashion's. Its 95,012 weights are 0.4 % fewer than the 95,403 that are left of mlp_fashion's
320,700 when 225,297 are gone, as in the paper's model G1; the hidden widths shrink in proportion. Beside a pruned
network it says what a network of that size reaches without having been larger.

*Paper:* none; the control that Ganguli, Chong 2024, "Activation-Based Pruning of Neural Networks", does not have.
"""

from dataclasses import replace
from functools import partial

from sapwood.models.mlp import mlp
from sapwood.tasks.mlp_fashion import mlp_fashion
from sapwood.training.task import Task

WIDTHS = (784, 107, 72, 36, 18, 10)


def mlp_fashion_narrow() -> Task:
    """The paper's data and recipe on a narrower network."""
    return replace(mlp_fashion(), name="mlp_fashion_narrow", model=partial(mlp, *WIDTHS))
