"""vgg6_cifar_narrow: six convolutions of 16 to 64 channels on a fifth of CIFAR-10, for studies on a few cores.

VGG's shape, 16-16-32-32-64-64 with batch norms, a pool behind every second one, a hidden layer of 64 (138,906
parameters, 9.9M multiply-adds an image). Of the first 11,000 training images 1,000 validate and 10,000 train; all
10,000 test images are used. SGD with learning rate 0.1, momentum 0.9, weight decay 1e-4, batches of 64, images moved
and mirrored: the recipe with which Liu et al. 2019, arXiv 1810.05270, train for CIFAR-10. No paper uses this network.
"""

from functools import lru_cache, partial

from torch.optim import SGD

from sapwood.data import cifar10
from sapwood.data.augment import crop_and_flip
from sapwood.models.initial import he
from sapwood.models.vgg_cifar import vgg_cifar
from sapwood.tasks.split import first, split
from sapwood.training.task import Data, Task

STAGES = ((16, 16), (32, 32), (64, 64))


def vgg6_cifar_narrow() -> Task:
    """A plain network with batch norms that trains in minutes."""
    return Task(
        "vgg6_cifar_narrow",
        model=partial(vgg_cifar, STAGES, hidden=64),
        data=_data(),
        optimizer=partial(SGD, lr=0.1, momentum=0.9, weight_decay=1e-4),
        batch_size=64,
        classes=10,
        augment=crop_and_flip,
        fresh=he,
        at_once=125,
        ends=("valid", "test"),  # a pass over the training images would take half as long as an epoch
    )


@lru_cache(maxsize=1)
def _data() -> Data:
    """The splits, made once per process for all trials of a worker."""
    few = first(cifar10.load(), train=11_000, test=10_000)
    return split(few, valid=1_000, flat=False, mean=cifar10.MEAN, std=cifar10.STD)
