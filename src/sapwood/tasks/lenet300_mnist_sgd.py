"""lenet300_mnist_sgd: LeNet-300-100 on MNIST as the activation-based pruning paper trains: SGD 0.01, batches of 32.

The network is lenet300_mnist's, 784-300-100-10 (266,200 weights); split and recipe are mlp_mnist's.

*Paper:* Ganguli, Chong 2024, "Activation-Based Pruning of Neural Networks", Algorithms 17(1):48, Table 10, which
compares with what others report of this network.
*Differs:* that it was trained as the paper's other networks is assumed.
"""

from dataclasses import replace
from functools import partial

from sapwood.models.mlp import mlp
from sapwood.tasks.mlp_mnist import mlp_mnist
from sapwood.training.task import Task


def lenet300_mnist_sgd() -> Task:
    """LeNet-300-100 with that paper's recipe."""
    return replace(mlp_mnist(), name="lenet300_mnist_sgd", model=partial(mlp, 784, 300, 100, 10))
