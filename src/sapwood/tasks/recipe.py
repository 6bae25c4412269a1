"""Recipe: variants of a task - learning rate, its course, decay, batches, blanks, widths, precision, a teacher."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sapwood.data.augment import blanked
from sapwood.errors import InputError, refuse_unless
from sapwood.models.mlp import mlp
from sapwood.selection import schedule
from sapwood.training import losses
from sapwood.training.task import Augment, Batch, Forward, Loss, Task

CONSTANT = "constant"
FULL, PRECISIONS = "float32", ("float32", "bfloat16")


@dataclass(frozen=True)
class _With:
    """A task's optimiser with another number in all groups; a value, so that a task with it is one."""

    task: Task
    name: str
    number: float

    def __call__(self, parameters: Iterable[nn.Parameter]) -> Optimizer:
        optimizer = self.task.optimizer(parameters)
        for group in optimizer.param_groups:
            if self.name not in group:
                raise InputError(f"{self.name} is {self.number}, but task {self.task.name!r} trains by "
                                 f"{type(optimizer).__name__}, which has none; leave it out")  # fmt: skip
            group[self.name] = self.number
        return optimizer


def with_recipe(
    task: Task,
    *,
    learning_rate: float | None = None,
    course: str = CONSTANT,
    weight_decay: float | None = None,
    batch_size: int | None = None,
    blank: float = 0.0,
    hidden: str = "",
    precision: str = FULL,
) -> Task:
    """The task with this learning rate and weight decay in all groups, and batches of so many samples (None: its own).

    The decay is what the task's optimiser makes of it: of Adam and SGD a penalty decay / 2 |w|^2, also on biases.
    `course` is "constant" or one of COURSES. `blank`: the share of all inputs that are 0 in a training batch, others
    each time (`data.augment.blanked`, after the task's own augmentation).
    `hidden`: how wide the hidden layers are ("38 12"), for tasks whose network is an `mlp` with as many of them.
    `precision`: "bfloat16" trains under torch's autocast, about half as long on processors that have it in hardware;
    weights, the loss and all evaluations stay in float32.
    """
    if learning_rate is not None:
        if not 0 < learning_rate < math.inf:
            raise InputError(f"learning_rate is {learning_rate}; give a finite number above 0")
        task = replace(task, optimizer=_With(task, "lr", learning_rate))
    if weight_decay is not None:
        if not 0 <= weight_decay < math.inf:
            raise InputError(f"weight_decay is {weight_decay}; give a finite number of 0 or more")
        task = replace(task, optimizer=_With(task, "weight_decay", weight_decay))
    if batch_size is not None:
        task = replace(task, batch_size=batch_size)
    if blank:
        if not 0 < blank < 1:
            raise InputError(f"blank is {blank}; give a share in [0, 1)")
        task = replace(task, augment=_Blanking(task.augment, blank))
    if hidden:
        task = replace(task, model=_wide(task, hidden))
    refuse_unless("precision", precision, PRECISIONS)
    if precision != FULL:
        task = replace(task, forward=_Autocast(task.forward, getattr(torch, precision)))
    refuse_unless("course", course, (CONSTANT, *schedule.COURSES))
    return task if course == CONSTANT else replace(task, course=schedule.COURSES[course])


@dataclass(frozen=True)
class _Blanking:
    """What a task does to its training batches, and then inputs of 0."""

    before: Augment | None
    share: float

    def __call__(self, batch: Batch, generator: torch.Generator) -> Batch:
        changed = batch if self.before is None else self.before(batch, generator)
        return blanked(changed, generator, share=self.share)


@dataclass(frozen=True)
class _Autocast:
    """How a task asks its network, in another precision while the network trains."""

    before: Forward
    precision: torch.dtype

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        if not model.training:
            return self.before(model, batch)
        inputs = batch.inputs
        if isinstance(inputs, Tensor) and inputs.dim() == 4:  # images: convolutions are faster with channels last
            batch = Batch(inputs.contiguous(memory_format=torch.channels_last), batch.targets)
        with torch.autocast(batch.targets.device.type, self.precision):
            return self.before(model, batch).float()


@dataclass(frozen=True)
class _Taught:
    """The loss of a network that learns from labels and from a teacher's answers."""

    teacher: nn.Module
    temperature: float
    soft: float
    forward: Forward
    own: Loss  # the task's, of labels alone

    def __call__(self, model: nn.Module, batch: Batch, outputs: Tensor) -> Tensor:
        with torch.no_grad():
            said = self.forward(self.teacher.to(batch.targets.device), batch)
        return losses.distil(outputs, said, batch.targets, self.temperature, self.soft)


def taught(task: Task, teacher: nn.Module, *, temperature: float = 4.0, soft: float = 0.9) -> Task:
    """The task with `losses.distil` as its loss, in evaluations too; a share `soft` of it is the teacher's.

    Every method trains with this loss. The teacher is set to evaluation mode and stays fixed.
    """
    if not 0 < temperature < math.inf or not 0 <= soft <= 1:
        raise InputError(f"temperature is {temperature}, soft {soft}; give a number above 0, and a share in [0, 1]")
    return replace(task, loss=_Taught(teacher.eval(), temperature, soft, task.forward, task.loss))


def _wide(task: Task, hidden: str) -> partial[nn.Sequential]:
    """What makes the task's network with other hidden layers."""
    made = task.model
    if not isinstance(made, partial) or made.func is not mlp:
        raise InputError(f"hidden is {hidden!r}, but the network of task {task.name!r} is no mlp; leave it out")
    first, *inner, last = made.args
    try:
        widths = [int(word) for word in hidden.split()]
    except ValueError:
        widths = []
    if len(widths) != len(inner) or min(widths, default=0) < 1:
        raise InputError(
            f"hidden is {hidden!r}; give {len(inner)} whole numbers of 1 or more, as in {' '.join(map(str, inner))!r}"
        )
    return partial(mlp, first, *widths, last, **made.keywords)
