"""Recipe: a task with another learning rate, or one that falls while it trains: methods may each need their own."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from torch import nn
from torch.optim import Optimizer

from sapwood import schedule
from sapwood.errors import InputError, refuse_unless
from sapwood.task import Task

CONSTANT = "constant"


@dataclass(frozen=True)
class _AtRate:
    """A task's optimiser at another learning rate; a value, so that a task with it is one."""

    task: Task
    rate: float

    def __call__(self, parameters: Iterable[nn.Parameter]) -> Optimizer:
        optimizer = self.task.optimizer(parameters)
        for group in optimizer.param_groups:
            group["lr"] = self.rate
        return optimizer


def with_recipe(task: Task, *, learning_rate: float | None = None, course: str = CONSTANT) -> Task:
    """The task with this learning rate in all groups (None: its own); `course` is "constant" or one of COURSES."""
    if learning_rate is not None:
        if not 0 < learning_rate < math.inf:
            raise InputError(f"learning_rate is {learning_rate}; give a finite number above 0")
        task = replace(task, optimizer=_AtRate(task, learning_rate))
    refuse_unless("course", course, (CONSTANT, *schedule.COURSES))
    return task if course == CONSTANT else replace(task, course=schedule.COURSES[course])
