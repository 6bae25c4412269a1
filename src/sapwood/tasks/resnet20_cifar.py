"""resnet20_cifar: ResNet-20 on CIFAR-10 from scratch, as in the residual networks paper (269,722 parameters).

SGD with learning rate 0.1, momentum 0.9, weight decay 1e-4, batches of 128. The first 5,000 training images validate
(460 to 520 of each class), the other 45,000 train: 352 steps an epoch of 0.5 s each on one core. Training images are
moved by up to four pixels and mirrored half of the time; inputs are (pixel / 255 - mean) / std with `cifar10.MEAN` and
`STD`. Data 740 MB in memory.

*Paper:* He, Zhang, Ren, Sun 2015, "Deep Residual Learning for Image Recognition", arXiv 1512.03385, section 4.2.
*Differs:* the learning rate stays; the paper divides it by 10 after 32,000 and 48,000 of 64,000 steps (91.25 % of the
test images). The paper subtracts the mean of each pixel and does not scale.
"""

from functools import lru_cache, partial

from torch.optim import SGD

from sapwood.data import cifar10
from sapwood.data.augment import crop_and_flip
from sapwood.models.initial import he
from sapwood.models.resnet_cifar import resnet_cifar
from sapwood.tasks.split import split
from sapwood.training.task import Data, Task


def resnet20_cifar() -> Task:
    """The paper's smallest network for CIFAR-10, its data and, but for its drops, its recipe."""
    return Task(
        "resnet20_cifar",
        model=partial(resnet_cifar, 20),
        data=_data(),
        optimizer=partial(SGD, lr=0.1, momentum=0.9, weight_decay=1e-4),
        batch_size=128,
        classes=10,
        augment=crop_and_flip,
        fresh=he,
        at_once=125,
        ends=("valid", "test"),  # a pass over the training images would take half as long as an epoch
    )


@lru_cache(maxsize=1)
def _data() -> Data:
    """The splits, made once per process for all tasks that have them."""
    return split(cifar10.load(), valid=5_000, flat=False, mean=cifar10.MEAN, std=cifar10.STD)
