"""The tasks, one line each. Calling one reads its data set from local files; importing this reads nothing."""

from collections.abc import Callable
from functools import cache

from sapwood.tasks.conv_digits import conv_digits
from sapwood.tasks.conv_fashion import conv_fashion
from sapwood.tasks.conv_fashion_smoke import conv_fashion_smoke
from sapwood.tasks.lenet5_mnist import lenet5_mnist
from sapwood.tasks.lenet300_mnist import lenet300_mnist
from sapwood.tasks.lenet300_mnist_sgd import lenet300_mnist_sgd
from sapwood.tasks.mlp_digits import mlp_digits
from sapwood.tasks.mlp_fashion import mlp_fashion
from sapwood.tasks.mlp_fashion_narrow import mlp_fashion_narrow
from sapwood.tasks.mlp_fashion_smoke import mlp_fashion_smoke
from sapwood.tasks.mlp_fashion_smoke_narrow import mlp_fashion_smoke_narrow
from sapwood.tasks.mlp_mnist import mlp_mnist
from sapwood.tasks.resnet8_cifar_smoke import resnet8_cifar_smoke
from sapwood.tasks.resnet20_cifar import resnet20_cifar
from sapwood.tasks.resnet20_cifar_trained import resnet20_cifar_trained
from sapwood.tasks.resnet56_cifar import resnet56_cifar
from sapwood.tasks.resnet56_cifar_trained import resnet56_cifar_trained
from sapwood.tasks.smollm2_wikitext import smollm2_wikitext
from sapwood.tasks.text import text
from sapwood.tasks.text_smoke import text_smoke
from sapwood.tasks.text_sru import text_sru
from sapwood.tasks.text_sru_smoke import text_sru_smoke
from sapwood.tasks.vgg6_cifar_narrow import vgg6_cifar_narrow
from sapwood.tasks.vgg16_cifar import vgg16_cifar
from sapwood.training.entry import Column, Entry, table
from sapwood.training.goal import ACCURACY, BITS, TOKEN_BITS, Goal
from sapwood.training.task import Task

# `goal` stands here for those who know a task's name and not its data.
ENTRIES = table(
    Entry(conv_digits, data="digits"),
    Entry(conv_fashion, data="fashion_mnist"),
    Entry(conv_fashion_smoke, data="fashion_mnist"),
    Entry(lenet5_mnist, data="mnist"),
    Entry(lenet300_mnist, version=2, data="mnist"),
    Entry(lenet300_mnist_sgd, data="mnist"),
    Entry(mlp_digits, data="digits"),
    Entry(mlp_fashion, data="fashion_mnist"),
    Entry(mlp_fashion_narrow, data="fashion_mnist"),
    Entry(mlp_fashion_smoke, data="fashion_mnist"),
    Entry(mlp_fashion_smoke_narrow, data="fashion_mnist"),
    Entry(mlp_mnist, data="mnist"),
    Entry(resnet20_cifar, version=2, data="cifar10"),
    Entry(resnet20_cifar_trained, version=2, data="cifar10"),
    Entry(resnet56_cifar, version=2, data="cifar10"),
    Entry(resnet56_cifar_trained, version=2, data="cifar10"),
    Entry(resnet8_cifar_smoke, version=2, data="cifar10"),
    Entry(smollm2_wikitext, data="wikitext2", goal=TOKEN_BITS),
    Entry(text, data="wikitext2", goal=BITS),
    Entry(text_smoke, data="wikitext2", goal=BITS),
    Entry(text_sru, data="wikitext2", goal=BITS),
    Entry(text_sru_smoke, data="wikitext2", goal=BITS),
    Entry(vgg6_cifar_narrow, data="cifar10"),
    Entry(vgg16_cifar, version=2, data="cifar10"),
)

# Views of the table, by name.
TASKS: Column[Callable[[], Task]] = Column(ENTRIES, "make", "task")
TASK_VERSIONS: Column[int] = Column(ENTRIES, "version", "task")
TASK_GOALS: Column[Goal] = Column(ENTRIES, "goal", "task")
TASK_DATA: Column[str] = Column(ENTRIES, "data", "task")


def goal_of(task: str) -> Goal:
    """Return the goal of a task by its name; accuracy where none is known.

    Of a task of one's own, whose line says neither goal nor data, the task is made and asked.
    """
    entry = ENTRIES.get(task)
    if entry is None or entry.goal is not None or entry.data is not None or entry.make is None:
        return TASK_GOALS.get(task, ACCURACY)
    return _asked(entry.make)


@cache
def _asked(make: Callable[[], Task]) -> Goal:
    return make().goal
