"""vgg16_cifar: VGG-16 with batch norm on CIFAR-10 from scratch, with the data and the recipe of resnet20_cifar.

A step takes 5.6 s on one core, an epoch half an hour: for more than looking at, take another device.

*Paper:* Li, Kadav, Durdanovic, Samet, Graf 2017, "Pruning Filters for Efficient ConvNets", arXiv 1608.08710,
section 4.1: 93.25 % of the test images.
*Differs:* the learning rate stays.
"""

from dataclasses import replace

from sapwood.models.vgg_cifar import vgg_cifar
from sapwood.tasks.resnet20_cifar import resnet20_cifar
from sapwood.training.task import Task


def vgg16_cifar() -> Task:
    """The plain network that filter pruning papers take."""
    return replace(resnet20_cifar(), name="vgg16_cifar", model=vgg_cifar)
