"""lenet5_mnist: LeNet-5 on MNIST, the cheap task for whatever takes filters out (431,080 parameters, 2.29M MACs).

SGD with learning rate 0.01, momentum 0.9, weight decay 5e-4, batches of 64, inputs pixel / 255, as Caffe's example has
them; 5,000 images validate, 55,000 train, 860 steps an epoch.

*Paper:* LeCun, Bottou, Bengio, Haffner 1998; the network and the recipe are Caffe's, see `models.lenet5`.
*Differs:* the learning rate stays; Caffe's falls slowly over 10,000 steps.
"""

from functools import lru_cache, partial

from torch.optim import SGD

from sapwood.data import mnist
from sapwood.models.initial import glorot
from sapwood.models.lenet5 import lenet5
from sapwood.tasks.split import split
from sapwood.training.task import Data, Task


def lenet5_mnist() -> Task:
    """The smallest network with filters that pruning papers print numbers of."""
    return Task(
        "lenet5_mnist",
        model=lenet5,
        data=_data(),
        optimizer=partial(SGD, lr=0.01, momentum=0.9, weight_decay=5e-4),
        batch_size=64,
        classes=10,
        fresh=glorot,
        at_once=250,
        ends=("valid", "test"),
    )


@lru_cache(maxsize=1)
def _data() -> Data:
    """The splits, made once per process for all trials of a worker."""
    return split(mnist.load(), valid=5_000, flat=False)
