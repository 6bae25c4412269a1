"""resnet56_cifar: ResNet-56 on CIFAR-10 from scratch, with the data and the recipe of resnet20_cifar.

A step takes 1.8 s on one core, an epoch 10 minutes; for one that is trained already see resnet56_cifar_trained.

*Paper:* He, Zhang, Ren, Sun 2015, "Deep Residual Learning for Image Recognition", arXiv 1512.03385, section 4.2, where
it has 93.03 % of the test images right.
*Differs:* as resnet20_cifar.
"""

from dataclasses import replace
from functools import partial

from sapwood.models.resnet_cifar import resnet_cifar
from sapwood.tasks.resnet20_cifar import resnet20_cifar
from sapwood.training.task import Task


def resnet56_cifar() -> Task:
    """The network that filter pruning papers take, untrained."""
    return replace(resnet20_cifar(), name="resnet56_cifar", model=partial(resnet_cifar, 56))
