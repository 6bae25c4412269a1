"""resnet8_cifar_smoke: a small ResNet on a twentieth of CIFAR-10, to see in seconds whether a study runs at all.

Three blocks with 8, 16 and 32 channels (19,218 parameters). Of the first 3,000 training images 500 validate and 2,500
train, of the test images the first 1,000 are used; batches of 32, else the recipe of resnet20_cifar. It has 0.40 of
the validation images right after eight epochs (2.3 s an epoch on one core; 7 s for unpacking the images before). Its
numbers say nothing about any paper.
"""

from functools import partial

from torch.optim import SGD

from sapwood.data import cifar10
from sapwood.data.augment import crop_and_flip
from sapwood.models.initial import he
from sapwood.models.resnet_cifar import resnet_cifar
from sapwood.tasks.split import first, split
from sapwood.training.task import Task


def resnet8_cifar_smoke() -> Task:
    """A residual network and augmentation on little data."""
    few = first(cifar10.load(), train=3_000, test=1_000)
    return Task(
        "resnet8_cifar_smoke",
        model=partial(resnet_cifar, 8, width=8),
        data=split(few, valid=500, flat=False, mean=cifar10.MEAN, std=cifar10.STD),
        optimizer=partial(SGD, lr=0.1, momentum=0.9, weight_decay=1e-4),
        batch_size=32,
        classes=10,
        augment=crop_and_flip,
        fresh=he,
        at_once=125,
        ends=("valid", "test"),  # a pass over the training images would take half as long as an epoch
    )
