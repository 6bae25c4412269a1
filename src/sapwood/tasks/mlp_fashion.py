"""mlp_fashion: 784-300-200-100-50-10 on Fashion-MNIST, as in the activation-based pruning paper.

SGD with learning rate 0.01 and nothing else, batches of 32, inputs pixel / 255. The first 6,000 images of the training
file validate (560 of class 0), the other 54,000 train (5,440 of class 0): 1,688 steps an epoch, the last of 16 samples.

*Paper:* Ganguli, Chong 2024, "Activation-Based Pruning of Neural Networks", Algorithms 17(1):48, section 4.1; what the
text leaves open is as in the authors' code (TensorFlow 2.10).
*Differs:* the shuffles and the initial values come from another random generator.
"""

from functools import partial

from torch.optim import SGD

from sapwood.data import fashion_mnist
from sapwood.models.initial import glorot
from sapwood.models.mlp import mlp
from sapwood.task import Task
from sapwood.tasks.split import split

WIDTHS = (784, 300, 200, 100, 50, 10)


def mlp_fashion() -> Task:
    """The paper's network, data and recipe."""
    return Task(
        "mlp_fashion",
        model=partial(mlp, *WIDTHS),
        data=split(fashion_mnist.load(), valid=6_000),
        optimizer=partial(SGD, lr=0.01),
        batch_size=32,
        classes=10,
        fresh=glorot,
    )
