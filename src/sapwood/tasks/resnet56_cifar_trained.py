"""resnet56_cifar_trained: a ResNet-56 that has 93.39 % of CIFAR-10's test images right, for pruning and recovering.

Recipe, data and the warning about validation accuracy are those of resnet20_cifar_trained.

*Paper:* Li, Kadav, Durdanovic, Samet, Graf 2017, "Pruning Filters for Efficient ConvNets", arXiv 1608.08710,
section 4.2.
*Differs:* as resnet20_cifar_trained.
"""

from copy import deepcopy
from dataclasses import replace
from functools import partial

from sapwood.models.resnet_cifar import load_trained
from sapwood.tasks.resnet20_cifar_trained import resnet20_cifar_trained
from sapwood.training.task import Task


def resnet56_cifar_trained() -> Task:
    """Fine-tuning of a trained ResNet-56; its weights are read when the task is built."""
    return replace(resnet20_cifar_trained(), name="resnet56_cifar_trained", model=partial(deepcopy, load_trained(56)))
