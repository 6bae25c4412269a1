"""conv_fashion_smoke: conv_fashion's network and recipe on a tenth of its data, to see whether a study runs at all.

Of the first 6,000 training images 600 validate and 5,400 train; of the test images the first 1,000 are used: the
images of mlp_fashion_smoke. It passes 0.80 running training accuracy in its third or fourth epoch (three seeds; 0.6 s
an epoch on one core). Its numbers say nothing about any paper.
"""

from functools import partial

from torch.optim import SGD

from sapwood.data import fashion_mnist
from sapwood.models.conv import conv
from sapwood.models.initial import glorot
from sapwood.task import Task
from sapwood.tasks.conv_fashion import CHANNELS
from sapwood.tasks.split import first, split


def conv_fashion_smoke() -> Task:
    """The plain convolutional network on little data."""
    return Task(
        "conv_fashion_smoke",
        model=partial(conv, *CHANNELS, side=28, classes=10),
        data=split(first(fashion_mnist.load(), train=6_000, test=1_000), valid=600, flat=False),
        optimizer=partial(SGD, lr=0.05, momentum=0.9),
        batch_size=128,
        classes=10,
        fresh=glorot,
    )
