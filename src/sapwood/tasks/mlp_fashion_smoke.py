"""mlp_fashion_smoke: mlp_fashion's network on a tenth of its data, to see in seconds whether a study runs at all.

Of the first 6,000 training images 600 validate and 5,400 train; of the test images the first 1,000 are used. The
learning rate is 0.1, ten times mlp_fashion's, so that a dense network passes 0.80 running training accuracy in its
fourth epoch (three of three seeds; 0.2 s an epoch on one core). Chosen by validation accuracy after 15 epochs among
learning rates 0.05 and 0.1 with batches of 32, and 0.1 and 0.2 with 64. Its numbers say nothing about any paper.
"""

from functools import partial

from torch.optim import SGD

from sapwood.data import fashion_mnist
from sapwood.models.initial import glorot
from sapwood.models.mlp import mlp
from sapwood.task import Task
from sapwood.tasks.mlp_fashion import WIDTHS
from sapwood.tasks.split import first, split


def mlp_fashion_smoke() -> Task:
    """The paper's network on little data."""
    return Task(
        "mlp_fashion_smoke",
        model=partial(mlp, *WIDTHS),
        data=split(first(fashion_mnist.load(), train=6_000, test=1_000), valid=600),
        optimizer=partial(SGD, lr=0.1),
        batch_size=32,
        classes=10,
        fresh=glorot,
    )
