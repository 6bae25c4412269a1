"""Training as a generator: it makes a step and hands over the moment, so a method is an ordinary `for` loop."""

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import nn
from torch.optim import Optimizer

from sapwood import processes
from sapwood.errors import InputError, refuse_unless
from sapwood.masking.holding import seen_through
from sapwood.scoring.modes import evaluating
from sapwood.training.run import Run
from sapwood.training.task import Batch, Task


class Moment(NamedTuple):
    """One step just made.

    At the end of an epoch `metrics` has train_loss and train_accuracy, averaged over the epoch's batches (each seen
    with the weights before its own step, as Keras prints them), and valid_loss and valid_accuracy, evaluated now.
    """

    step: int  # steps made so far
    epoch: int  # counted from 1: the epoch this step belongs to
    ends_epoch: bool
    loss: float  # of this step's batch
    metrics: Mapping[str, float]
    phase: int  # which call of train


def train(run: Run, *, epochs: int | None = None, steps: int | None = None) -> Iterator[Moment]:
    """Trains for so many epochs or steps, a moment at a time; the consumer may prune between them, or leave.

    `run.between` is called when the consumer asks for the next moment: by then all that followed from the last step
    has been done, which makes it the one right place for saving.
    """
    length = _length(run.task, epochs, steps)
    if not run.enter():
        return
    end = run.begun + length
    try:
        while run.step < end:
            epoch, first = divmod(run.step, run.task.steps_per_epoch)
            for batch in run.task.batches(run.seed, epoch, first):
                _set_rates(run, length)
                yield _moment(run, _step(run, batch))
                if run.between is not None:
                    run.between(run)
                if run.step >= end:
                    break
    finally:
        run.leave()


def evaluate(run: Run, split: str = "valid") -> dict[str, float]:
    """Mean loss and metrics over one split, in evaluation mode; mode, gradients and random state stay untouched."""
    refuse_unless("split", split, ("train", "valid", "test"))
    return measured(run.model, run.task, getattr(run.task.data, split)) if not run.dense else _through(run, split)


@torch.no_grad()
def measured(model: nn.Module, task: Task, samples: Batch, size: int = 2_000) -> dict[str, float]:
    """The task's mean loss and metrics of `model` over `samples`."""
    sums: dict[str, float] = {}
    with evaluating(model):
        for at in range(0, len(samples.targets), size):
            batch = samples.rows(slice(at, at + size))
            outputs = model(batch.inputs)
            _add(sums, task, batch, outputs, task.loss(model, batch, outputs).item())
    return _means(sums)


def _through(run: Run, split: str) -> dict[str, float]:
    with seen_through(run.model, run.masks):
        return measured(run.model, run.task, getattr(run.task.data, split))


def _step(run: Run, batch: Batch) -> float:
    """One update; the loss before it. Nothing has changed when the loss is not finite."""
    if not run.model.training:
        run.model.train()
    whole = batch.targets.shape[0]  # len() of a tensor takes several times as long, and it all adds up
    if processes.world() > 1:
        batch = batch.rows(processes.share(whole))
    _forget_gradients(run.optimizer)
    value = _backward(run, batch, whole) if not run.dense else _backward_through(run, batch, whole)
    run.optimizer.step()
    run.step += 1
    return value


def _set_rates(run: Run, length: int) -> None:
    """The next step's learning rates; where a group's began is kept in the group, and so in checkpoints."""
    if run.task.course is None:
        return
    factor = run.task.course((run.step - run.begun) / length)
    for group in run.optimizer.param_groups:
        group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor


def _forget_gradients(optimizer: Optimizer) -> None:
    """As zero_grad does, without its bookkeeping, which takes 1 % of a small network's step."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = None


def _backward(run: Run, batch: Batch, whole: int) -> float:
    outputs = run.forward(batch.inputs)
    # More processes than samples in a last batch leave a share empty, whose mean loss would be NaN.
    share = batch.targets.shape[0]
    loss: torch.Tensor = run.loss(run.model, batch, outputs) if share else outputs.sum() * 0
    value = loss.item()
    if not math.isfinite(value):
        raise InputError(
            f"the loss is {value} at step {run.step}; lower the learning rate or check the data; "
            "the model is as it was before this step"
        )
    # Shares of a batch can differ by one sample; the mean over all processes must weigh samples, not processes.
    weight = share * processes.world() / whole
    (loss if weight == 1 else loss * weight).backward()  # type: ignore[no-untyped-call]
    _add(run.sums, run.task, batch, outputs.detach(), value)
    return value


def _backward_through(run: Run, batch: Batch, whole: int) -> float:
    with seen_through(run.model, run.masks):
        return _backward(run, batch, whole)


def _moment(run: Run, loss: float) -> Moment:
    epoch, within = divmod(run.step - 1, run.task.steps_per_epoch)
    ends = within + 1 == run.task.steps_per_epoch
    return Moment(run.step, epoch + 1, ends, loss, _epoch_metrics(run) if ends else {}, run.phase)


def _epoch_metrics(run: Run) -> dict[str, float]:
    sums, run.sums = processes.add_up_numbers(run.sums), {}
    valid = evaluate(run, "valid")
    return {f"train_{k}": v for k, v in _means(sums).items()} | {f"valid_{k}": v for k, v in valid.items()}


def _add(sums: dict[str, float], task: Task, batch: Batch, outputs: torch.Tensor, loss: float) -> None:
    count = batch.targets.shape[0]
    sums["count"] = sums.get("count", 0.0) + count
    sums["loss"] = sums.get("loss", 0.0) + loss * count
    for name, value in task.metrics(outputs, batch).items():
        sums[name] = sums.get(name, 0.0) + value.item()


def _means(sums: Mapping[str, float]) -> dict[str, float]:
    return {name: value / sums["count"] for name, value in sums.items() if name != "count"}


def _length(task: Task, epochs: int | None, steps: int | None) -> int:
    if (epochs is None) == (steps is None):
        raise InputError(f"train() takes epochs or steps, one of them; got epochs={epochs}, steps={steps}")
    length = steps if epochs is None else epochs * task.steps_per_epoch
    if type(length) is not int or length < 0:
        raise InputError(f"train() was asked for {length} steps; give a whole number, 0 or more")
    return length
