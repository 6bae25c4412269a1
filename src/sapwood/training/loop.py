"""Training as a generator: it makes a step and hands over the moment, so a method is an ordinary `for` loop."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sapwood import processes
from sapwood.called import checked
from sapwood.errors import InputError, refuse_unless
from sapwood.masking.holding import seen_through
from sapwood.scoring.modes import evaluating
from sapwood.training.epoch import EpochMetrics
from sapwood.training.recorded import Recorded, recorder_for, refused
from sapwood.training.run import Run
from sapwood.training.tally import Tally, number
from sapwood.training.task import Batch, Carry, Samples, Task

Update = Callable[[Run, Batch], tuple[Tensor, Tensor]]  # leaves gradients in .grad; (outputs, loss), as recorded
Acts = Callable[[int], bool]  # (step) -> whether who trains does anything after it


class _Made(NamedTuple):
    step: int  # steps made so far
    epoch: int  # counted from 1: the epoch this step belongs to
    ends_epoch: bool
    loss: float | Tensor
    metrics: Mapping[str, float]
    phase: int  # which call of train


class Moment(_Made):
    """One step just made: step, epoch (from 1), ends_epoch, loss of its batch, metrics, phase (which call of train).

    At the end of an epoch `metrics` has train_loss and, for each metric of the task, train_NAME, as train_accuracy:
    means over the epoch's batches, each seen with the weights before its own step, as Keras prints them. And valid_loss
    and valid_NAME, evaluated when they are read: see `EpochMetrics`. At other moments it is empty.
    """

    __slots__ = ()

    @property
    def loss(self) -> float:
        """Of this step's batch; of a captured step it is read here, which waits for the device."""
        return float(self[3])


def descend(run: Run, batch: Batch) -> tuple[Tensor, Tensor]:
    """One forward and one backward pass, and no step; `train` steps afterwards, with the gradients left in `.grad`.

    Returns the outputs and the run's loss of them. A function like it is what `train(run, update=...)` takes.
    """
    return descended(run, *passed(run, batch, run.forward))


def passed(run: Run, batch: Batch, network: nn.Module) -> tuple[Tensor, Tensor]:
    """The forward pass of `descend`: outputs, and the run's loss of them. `network` is `run.forward` in some form."""
    task = run.task
    outputs = task.forward(network, batch) if task.carry is None else _carried(run, network, task.carry, batch)
    # More processes than samples in a last batch leave a share empty, whose mean loss would be NaN.
    return outputs, run.loss(run.model, batch, outputs) if batch.targets.shape[0] else outputs.sum() * 0


def descended(run: Run, outputs: Tensor, loss: Tensor) -> tuple[Tensor, Tensor]:
    """The backward pass of `descend`, which hands on what it was given."""
    run.sums.expect(loss)
    (loss if run.weight == 1 else loss * run.weight).backward()  # type: ignore[no-untyped-call]
    return outputs, loss


def _carried(run: Run, network: nn.Module, carry: Carry, batch: Batch) -> Tensor:
    """The outputs of a network that goes on with what it left itself in the step before.

    It begins anew in each call of `train`, in which it may be another network, and in each epoch.
    """
    if processes.world() > 1:
        raise InputError(f"task {run.task.name!r} carries a state from batch to batch, which one process has; run one")
    memory = run.store("carried")
    if run.step == run.begun or run.step % run.task.steps_per_epoch == 0:
        memory.clear()
    return carry(network, batch, memory)


def backward(run: Run, loss: Tensor, into: Iterable[Tensor]) -> None:
    """Adds the gradients of `loss` to `.grad` of the parameters in `into` only; all others keep what they have.

    For updates with several objectives on one forward pass: the graph stays, so that the next one can go through it.
    """
    torch.autograd.backward(loss * run.weight, inputs=list(into), retain_graph=True)


@checked()
def train(
    run: Run,
    *,
    epochs: int | None = None,
    steps: int | None = None,
    update: Update = descend,
    captured: bool = False,
    acts: Acts | None = None,
) -> Iterator[Moment]:
    """Trains for so many epochs or steps, a moment at a time; the consumer may prune between them, or leave.

    update: what leaves gradients for the optimiser's step, given (run, batch), and returns (outputs, loss) as they are
    recorded: several passes or objectives, adversarial samples, small parts of a batch one after another, autocast.
    Parameters without a gradient are not moved. It may draw from torch's random numbers; it must not make the step. One
    that calls `run.sums.expect(loss)` before its backward pass is spared waiting for a GPU to end that: the loss is
    looked at in every step, and when it is not finite the error finds all weights as they were before the step.
    captured: True makes the whole step one CUDA graph, replayed until masks, hooks, shapes or the like change: a small
    network's step takes a tenth of the time. SGD, Adam and AdamW only; on a CPU, and where it cannot be, a warning says
    why and steps are made one by one. Results are the same within rounding, and so are those of a resumed run. A loss
    is looked at when somebody reads it, at an epoch's end, on saving, or after 100 steps; from one that is not finite
    on no weight has moved, and the error says which step it was. Python runs in the first steps only: layers with luck
    of their own, or that count their calls, must not be captured.
    acts: whether the caller does anything at the moment of a step, (step) -> bool, besides those that end an epoch;
    `at_ends` if at no other. Trials that step together on a GPU then make all steps up to the next such one in a row,
    and of their moments the last one alone is handed out; anywhere else nothing is different. Left out: it may at any.
    `run.between` is called when the consumer asks for the next moment: by then all that followed from the last step
    has been done, which makes it the one right place for saving.

    >>> run = start(TASKS["mlp_digits"]())
    >>> for now in train(run, epochs=2):
    ...     if now.ends_epoch:
    ...         print(now.epoch, sorted(now.metrics))
    1 ['train_accuracy', 'train_loss', 'valid_accuracy', 'valid_loss']
    2 ['train_accuracy', 'train_loss', 'valid_accuracy', 'valid_loss']
    """
    length = _length(run.task, epochs, steps)
    if not run.enter():
        return
    end, due, recording = run.begun + length, 0, _recording(run, update) if captured else None
    step = recording.step if recording is not None else run.stepping or one_step
    try:
        while run.step < end:
            _set_rates(run, length)
            due = due if run.step < due else _due(run, end, acts)
            run.ahead = due - run.step
            with processes.connected():
                now = _moment(run, step(run, update))
            try:
                yield now
            finally:
                if now.ends_epoch:
                    _settle(now)
            if run.between is not None:
                run.between(run)
    finally:
        if recording is not None:
            recording.close()
        run.sums.read()  # a loss that nobody has looked at yet may not be finite
        run.leave()


def _recording(run: Run, update: Update) -> Recorded | None:
    recorder = recorder_for(run, update, descend)
    return None if recorder is None else Recorded(run, update, recorder)


@checked()
def evaluate(run: Run, split: str = "valid") -> dict[str, float]:
    """Mean loss and metrics over one split, in evaluation mode; mode, gradients and random state stay untouched.

    >>> sorted(evaluate(start(TASKS["mlp_digits"]()), "test"))
    ['accuracy', 'loss']
    """
    refuse_unless("split", split, ("train", "valid", "test"))
    return measured(run.model, run.task, getattr(run.task.data, split)) if not run.dense else _through(run, split)


@torch.no_grad()
def measured(model: nn.Module, task: Task, samples: Samples) -> dict[str, float]:
    """The task's mean loss and metrics of `model` over `samples`; mode and random state stay untouched."""
    sums = Tally()
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    with evaluating(model), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        for at in range(0, len(samples), task.at_once):
            batch = samples.take(slice(at, at + task.at_once))
            outputs = task.forward(model, batch)
            _add(sums, task, batch, outputs, number(task.loss(model, batch, outputs)))
    processes.reshard(model)
    return _means(sums.read())


def _through(run: Run, split: str) -> dict[str, float]:
    with seen_through(run.model, run.masks):
        return measured(run.model, run.task, getattr(run.task.data, split))


def one_step(run: Run, update: Update) -> float:
    """Make one step of a run by itself; return the loss before it. No weight has changed when that is not finite."""
    if not run.model.training:
        run.model.train()
    if processes.world() == 1:
        batch = run.task.batch(run.seed, run.step)
    else:
        batch = run.task.batch(run.seed, run.step, processes.share())
        # Shares of a batch can differ; the mean over all processes must weigh samples, or tokens, not processes.
        run.weight = processes.weight(run.task.count(batch))
    forget_gradients(run.optimizer)
    outputs, loss = update(run, batch) if not run.dense else _seen_through(run, batch, update)
    value = run.sums.value(loss)
    count_in(run, batch, outputs.detach(), value)
    run.optimizer.step()
    run.step += 1
    return value


def count_in(run: Run, batch: Batch, outputs: Tensor, loss: float) -> None:
    """Add a batch to the sums of its epoch; InputError unless its loss is finite."""
    if not math.isfinite(loss):
        raise refused(loss, run.step)
    _add(run.sums, run.task, batch, outputs, loss)


def _set_rates(run: Run, length: int) -> None:
    """The next step's learning rates; where a group's began is kept in the group, and so in checkpoints."""
    if run.task.course is None:
        return
    factor = run.task.course((run.step - run.begun) / length)
    for group in run.optimizer.param_groups:
        group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor


def forget_gradients(optimizer: Optimizer) -> None:
    """As zero_grad does, without its bookkeeping, which takes 1 % of a small network's step."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = None


def _seen_through(run: Run, batch: Batch, update: Update) -> tuple[Tensor, Tensor]:
    with seen_through(run.model, run.masks):
        return update(run, batch)


def _moment(run: Run, loss: float | Tensor) -> Moment:
    epoch, within = divmod(run.step - 1, run.task.steps_per_epoch)
    ends = within + 1 == run.task.steps_per_epoch
    return Moment(run.step, epoch + 1, ends, loss, _epoch_metrics(run) if ends else {}, run.phase)


def at_ends(step: int) -> bool:
    """For `train(acts=...)`: nothing is done at moments that end no epoch."""
    return False


def _due(run: Run, end: int, acts: Acts | None) -> int:
    """The next step at which the caller may act, or a rate may change."""
    first, every = run.step + 1, run.task.steps_per_epoch
    if acts is None or run.task.course is not None:
        return first
    last = min(end, -(-first // every) * every)
    return next(filter(acts, range(first, last)), last)


def _settle(now: Moment) -> None:
    """The consumer has acted, or is gone: from here on the moment's metrics stay what they are."""
    if isinstance(now.metrics, EpochMetrics):
        now.metrics.settle()


def _epoch_metrics(run: Run) -> EpochMetrics:
    sums, run.sums = processes.add_up_numbers(run.sums.read()), Tally()
    return EpochMetrics(_means(sums), lambda: evaluate(run, "valid"), lambda: _standing(run))


def _standing(run: Run) -> bytes:
    """A digest of all that an evaluation depends on."""
    tensors = dict(run.model.named_parameters()) | dict(run.model.named_buffers())
    found = processes.digest(
        tensors | ({f"mask {name}": keep for name, keep in run.masks.items()} if run.dense else {})
    )
    return b"".join(processes.gathered(found)) if any(map(processes.sharded, tensors.values())) else found


def _add(sums: Tally, task: Task, batch: Batch, outputs: Tensor, loss: float | Tensor) -> None:
    count = task.count(batch)
    sums.add("count", count)
    sums.add("loss", loss * count)
    for name, value in task.metrics(outputs, batch).items():
        sums.add(name, value)


def _means(sums: Mapping[str, float]) -> dict[str, float]:
    return {name: value / sums["count"] for name, value in sums.items() if name != "count"}


def _length(task: Task, epochs: int | None, steps: int | None) -> int:
    if (epochs is None) == (steps is None):
        raise InputError(f"train() takes epochs or steps, one of them; got epochs={epochs}, steps={steps}")
    length = steps if epochs is None else epochs * task.steps_per_epoch
    if type(length) is not int or length < 0:
        raise InputError(f"train() was asked for {length} steps; give a whole number, 0 or more")
    return length
