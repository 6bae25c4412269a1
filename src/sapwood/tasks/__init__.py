"""The tasks, by name. Calling an entry reads its data set from local files; importing this reads nothing."""

from collections.abc import Callable

from sapwood.goal import ACCURACY, BITS, Goal
from sapwood.task import Task
from sapwood.tasks.conv_digits import conv_digits
from sapwood.tasks.conv_fashion import conv_fashion
from sapwood.tasks.conv_fashion_smoke import conv_fashion_smoke
from sapwood.tasks.lenet300_mnist import lenet300_mnist
from sapwood.tasks.mlp_digits import mlp_digits
from sapwood.tasks.mlp_fashion import mlp_fashion
from sapwood.tasks.mlp_fashion_narrow import mlp_fashion_narrow
from sapwood.tasks.mlp_fashion_smoke import mlp_fashion_smoke
from sapwood.tasks.mlp_fashion_smoke_narrow import mlp_fashion_smoke_narrow
from sapwood.tasks.resnet8_cifar_smoke import resnet8_cifar_smoke
from sapwood.tasks.resnet20_cifar import resnet20_cifar
from sapwood.tasks.resnet20_cifar_trained import resnet20_cifar_trained
from sapwood.tasks.resnet56_cifar import resnet56_cifar
from sapwood.tasks.resnet56_cifar_trained import resnet56_cifar_trained
from sapwood.tasks.text import text
from sapwood.tasks.text_smoke import text_smoke
from sapwood.tasks.vgg16_cifar import vgg16_cifar

TASKS: dict[str, Callable[[], Task]] = {
    "conv_digits": conv_digits,
    "conv_fashion": conv_fashion,
    "conv_fashion_smoke": conv_fashion_smoke,
    "lenet300_mnist": lenet300_mnist,
    "mlp_digits": mlp_digits,
    "mlp_fashion": mlp_fashion,
    "mlp_fashion_narrow": mlp_fashion_narrow,
    "mlp_fashion_smoke": mlp_fashion_smoke,
    "mlp_fashion_smoke_narrow": mlp_fashion_smoke_narrow,
    "resnet20_cifar": resnet20_cifar,
    "resnet20_cifar_trained": resnet20_cifar_trained,
    "resnet56_cifar": resnet56_cifar,
    "resnet56_cifar_trained": resnet56_cifar_trained,
    "resnet8_cifar_smoke": resnet8_cifar_smoke,
    "text": text,
    "text_smoke": text_smoke,
    "vgg16_cifar": vgg16_cifar,
}

# Raised whenever a task's data, network or recipe changes, so that earlier results are not taken for its own.
TASK_VERSIONS: dict[str, int] = {
    "conv_digits": 1,
    "conv_fashion": 1,
    "conv_fashion_smoke": 1,
    "lenet300_mnist": 2,
    "mlp_digits": 1,
    "mlp_fashion": 1,
    "mlp_fashion_narrow": 1,
    "mlp_fashion_smoke": 1,
    "mlp_fashion_smoke_narrow": 1,
    "resnet20_cifar": 2,
    "resnet20_cifar_trained": 2,
    "resnet56_cifar": 2,
    "resnet56_cifar_trained": 2,
    "resnet8_cifar_smoke": 2,
    "text": 1,
    "text_smoke": 1,
    "vgg16_cifar": 2,
}

# What a task is judged by, where that is not accuracy: for those who know its name and not its data.
TASK_GOALS: dict[str, Goal] = {"text": BITS, "text_smoke": BITS}


def goal_of(task: str) -> Goal:
    """Return the goal of a task by its name."""
    return TASK_GOALS.get(task, ACCURACY)


# Which entry of sapwood.data.DATASETS each task reads: what to fetch before its trials start.
TASK_DATA: dict[str, str] = {
    "conv_digits": "digits",
    "conv_fashion": "fashion_mnist",
    "conv_fashion_smoke": "fashion_mnist",
    "lenet300_mnist": "mnist",
    "mlp_digits": "digits",
    "mlp_fashion": "fashion_mnist",
    "mlp_fashion_narrow": "fashion_mnist",
    "mlp_fashion_smoke": "fashion_mnist",
    "mlp_fashion_smoke_narrow": "fashion_mnist",
    "resnet20_cifar": "cifar10",
    "resnet20_cifar_trained": "cifar10",
    "resnet56_cifar": "cifar10",
    "resnet56_cifar_trained": "cifar10",
    "resnet8_cifar_smoke": "cifar10",
    "text": "wikitext2",
    "text_smoke": "wikitext2",
    "vgg16_cifar": "cifar10",
}
