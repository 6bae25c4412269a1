"""resnet20_cifar_trained: a ResNet-20 that has 91.73 % of CIFAR-10's test images right, for pruning and recovering.

The network starts with the weights of `load_trained`; the recipe is the one filter pruning recovers with: SGD with
learning rate 0.001, which stays, momentum 0.9, weight decay 1e-4, batches of 128, for about 40 epochs. Data and
augmentation are resnet20_cifar's, but these weights were trained on all 50,000 training images, those that validate
here among them (99.8 % right): only test accuracy says something.

*Paper:* Li, Kadav, Durdanovic, Samet, Graf 2017, "Pruning Filters for Efficient ConvNets", arXiv 1608.08710, section 4.
*Differs:* the network is not the paper's; momentum and batches are those of its training (He et al. 2015).
"""

from copy import deepcopy
from dataclasses import replace
from functools import partial

from torch.optim import SGD

from sapwood.models.resnet_cifar import load_trained
from sapwood.tasks.resnet20_cifar import resnet20_cifar
from sapwood.training.task import Task


def resnet20_cifar_trained() -> Task:
    """Fine-tuning of a trained ResNet-20; its weights are read when the task is built."""
    return replace(
        resnet20_cifar(),
        name="resnet20_cifar_trained",
        model=partial(deepcopy, load_trained(20)),
        optimizer=partial(SGD, lr=0.001, momentum=0.9, weight_decay=1e-4),
    )
