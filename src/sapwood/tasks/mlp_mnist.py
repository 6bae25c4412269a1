"""mlp_mnist: mlp_fashion's network, split and recipe on MNIST: 784-300-200-100-50-10, SGD 0.01, batches of 32.

The first 6,000 images of the training file validate, the other 54,000 train: 1,688 steps an epoch.

*Paper:* Ganguli, Chong 2024, "Activation-Based Pruning of Neural Networks", Algorithms 17(1):48, whose Table 10 is
about MNIST and does not say which network it has, nor how it was trained.
*Differs:* that the network and the recipe are those of the paper's other tables is assumed.
"""

from functools import partial

from torch.optim import SGD

from sapwood.data import mnist
from sapwood.models.initial import glorot
from sapwood.models.mlp import mlp
from sapwood.tasks.mlp_fashion import WIDTHS
from sapwood.tasks.split import split
from sapwood.training.task import Task


def mlp_mnist() -> Task:
    """The activation-based pruning paper's network and recipe on MNIST."""
    return Task(
        "mlp_mnist",
        model=partial(mlp, *WIDTHS),
        data=split(mnist.load(), valid=6_000),
        optimizer=partial(SGD, lr=0.01),
        batch_size=32,
        classes=10,
        fresh=glorot,
    )
