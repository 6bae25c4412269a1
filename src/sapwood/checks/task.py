"""Laws of a task's data: a batch is a function of seed and step; shares and means add up; weights begin by the rule."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from sapwood.checks.law import Laws, Result, demand, tried
from sapwood.run import start
from sapwood.samples import Batch, Data, Samples, same_samples
from sapwood.task import Task
from sapwood.train import measured


def check_task(name: str, task: Task) -> list[Result]:
    """The laws of tasks, tried on `task`. Metrics are looked at on at most 64 validation samples."""
    return tried(laws(name, task))


def laws(name: str, task: Task) -> Laws:
    """The laws of tasks about `task`, not yet tried."""
    bodies: dict[str, Callable[[Task], None]] = {
        "a batch depends on seed and step, not on what was asked before": _random_access,
        "an epoch has every training sample once, another epoch and another seed in another order": _once,
        "the shares of all processes are the batch, and none has another's sample": _shares,
        "means over a split do not depend on how it is cut into batches": _means,
        "fresh weights are those that a run begins with, and nobody else's luck changes": _fresh,
        "the example is a training sample, and the network answers it": _example,
    }
    return {f"task {name}: {law}": partial(body, task) for law, body in bodies.items()}


class _Numbers:
    """Samples whose inputs are their own numbers: what a task asks for can be read off its batches."""

    def __init__(self, samples: Samples) -> None:
        self.count = len(samples)

    def __len__(self) -> int:
        return self.count

    def take(self, index: Tensor | slice) -> Batch:
        numbers = torch.arange(self.count)[index]
        return Batch(numbers, numbers)

    def digest(self) -> bytes:
        return b""

    def to(self, device: torch.device | str) -> "_Numbers":
        return self


def _numbered(task: Task) -> Task:
    numbers = _Numbers(task.data.train)
    return replace(task, data=Data(numbers, numbers, numbers), augment=None, classes=None)


def _random_access(task: Task) -> None:
    steps = range(2 * min(task.steps_per_epoch, 10))
    forth = [task.batch(3, step) for step in steps]
    for step in reversed(steps):
        task.batch(4, step)  # another stream, read at the same time
        demand(same_samples(task.batch(3, step), forth[step]), f"step {step} has another batch when asked for later")


def _once(task: Task) -> None:
    count, orders = len(task.data.train), []
    for seed, epoch in ((0, 0), (0, 1), (1, 0)):
        order = torch.cat([batch.inputs for batch in _numbered(task).batches(seed, epoch)])
        complete = order.sort().values.tolist() == list(range(count))
        demand(complete, f"epoch {epoch} of seed {seed} does not have every sample once")
        orders.append(order.tolist())
    demand(count < 5 or len({tuple(each) for each in orders}) == 3, "two epochs or two seeds have the same order")


def _shares(task: Task) -> None:
    numbered, last = _numbered(task), task.steps_per_epoch - 1
    for step, world in ((0, 2), (last, 2), (last, 3)):
        whole = task.batch(0, step)
        parts = [slice(rank, None, world) for rank in range(world)]
        for part in parts:
            demand(
                same_samples(task.batch(0, step, part), whole.take(part)),
                f"rows {part} of step {step} are others when loaded alone",
            )
        found = sorted(n for part in parts for n in numbered.batch(0, step, part).inputs.tolist())
        demand(
            found == sorted(numbered.batch(0, step).inputs.tolist()),
            f"step {step}: {world} processes together have samples {found}",
        )


def _means(task: Task) -> None:
    run = start(replace(task, model=lambda: task.model().double()))
    few = task.data.valid.take(slice(-64, None))  # with the last sample, which may be a short one
    few = Batch(*(part.double() if part.is_floating_point() else part for part in (few.inputs, few.targets)))
    whole = measured(run.model, task, few)
    for at_once in (1, 3):
        parts = measured(run.model, replace(task, at_once=at_once), few)
        for metric, value in whole.items():
            demand(
                abs(parts[metric] - value) <= 1e-9 * max(1.0, abs(value)),
                f"{metric} is {parts[metric]} in batches of {at_once}, {value} at once",
            )


def _fresh(task: Task) -> None:
    torch.manual_seed(17)
    before = torch.get_rng_state()
    network = start(task, 5).model
    torch.set_rng_state(before)
    mine = task.model()
    luck = torch.get_rng_state()
    task.init(mine, 5)
    demand(torch.equal(torch.get_rng_state(), luck), "the global generator has moved")
    named = dict(mine.named_parameters())
    other = [name for name, weight in network.named_parameters() if not torch.equal(weight, named[name])]
    demand(not other, f"{', '.join(other)} begin otherwise in a run")


def _example(task: Task) -> None:
    first = task.data.train.take(slice(0, 1))
    demand(same_samples(Batch(task.example, first.targets), first), "the example is not the first training sample")
    network = start(task, 0).model.eval()
    outputs = task.forward(network, Batch(task.example, first.targets))
    demand(len(outputs) == 1, f"the network's outputs for it have shape {tuple(outputs.shape)}")
