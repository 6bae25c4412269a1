"""Task: a model, its data and how it is trained; a value that never changes."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sapwood import processes
from sapwood.called import fields_checked
from sapwood.errors import InputError, refuse_unless
from sapwood.scoring.batches import forward
from sapwood.training import goal as goals
from sapwood.training.draws import luck
from sapwood.training.fresh import reset, seeded
from sapwood.training.goal import ACCURACY, Goal
from sapwood.training.samples import Batch as Batch
from sapwood.training.samples import Data as Data
from sapwood.training.samples import Inputs, glimpse
from sapwood.training.samples import Samples as Samples

Loss = Callable[[nn.Module, Batch, Tensor], Tensor]  # (model, batch, the model's outputs) -> mean over the batch
Forward = Callable[[nn.Module, Batch], Tensor]  # (model, batch) -> the model's outputs
Carry = Callable[[nn.Module, Batch, dict[str, Any]], Tensor]  # (model, batch, what it left a step ago) -> outputs
Metrics = Callable[[Tensor, Batch], Mapping[str, Tensor | float]]  # (outputs, batch) -> sums over what `count` counts
Measure = Callable[[nn.Module, Batch], Tensor | float]  # (model in evaluation mode, batch) -> sum over its samples
Augment = Callable[[Batch, torch.Generator], Batch]  # (batch, where luck comes from) -> the batch, changed at random
Course = Callable[[float], float]  # share of a training phase that is over, [0, 1) -> factor on the learning rates

WHOLE = slice(None)
SPLIT = "Data(train=Batch(inputs, targets), valid=..., test=...)"
MAKES = "a function that builds one, such as its class, or lambda: ..."
OPTIMIZES = "a function of the parameters that makes one, such as partial(torch.optim.SGD, lr=0.1)"
SPLITS = ("train", "valid", "test")


def classification_loss(model: nn.Module, batch: Batch, outputs: Tensor) -> Tensor:
    """Cross-entropy of logits [B, C] with labels [B], mean over the batch."""
    try:
        return nn.functional.cross_entropy(outputs, batch.targets)
    except IndexError as error:
        low, high = int(batch.targets.min()), int(batch.targets.max())
        raise InputError(
            f"labels run from {low} to {high}, but the network has {outputs.shape[1]} outputs; "
            "give it one for each class"
        ) from error


def classification_metrics(outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
    """How many samples have their label as the arg-max of the logits."""
    return {"accuracy": (outputs.argmax(1) == batch.targets).count_nonzero()}


@dataclass(frozen=True)
class Task:
    """What is learned from what, and by which recipe.

    Data order is a function of (seed, epoch), and what `augment` does to a batch one of (seed, epoch, step), so a
    checkpoint has nothing to say about them. Only training batches are augmented. With `carry` batches are in order:
    row b of a batch follows on row b of the batch before, and the model may begin where it ended there. It leaves
    tensors in the dict that it is given, which is saved with the run and empty as training or an epoch begins.
    `model` and `optimizer` are called afresh by `start`; `model` runs under the run's seed. Learning rates stay as the
    optimiser has them, or follow `course` over each call of `train`; the next call begins it anew.
    """

    name: str
    model: Callable[[], nn.Module]
    data: Data
    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer]
    batch_size: int = 32
    loss: Loss = classification_loss
    metrics: Metrics = classification_metrics
    classes: int | None = None  # when given, labels outside [0, classes) are refused
    augment: Augment | None = None
    course: Course | None = None
    forward: Forward = forward
    carry: Carry | None = None  # in place of `forward` in training, for networks with a state
    count: Callable[[Batch], float] = len  # what a batch's loss is a mean over: samples; of text it is tokens
    goal: Goal = ACCURACY  # or a mere (metric, "up" or "down"): what the task is judged by
    measures: Mapping[str, Measure] = field(default_factory=dict, hash=False)  # measured once, when a trial is over
    fresh: Callable[[nn.Module], None] = reset  # gives a network new initial weights, drawn from torch's generator
    at_once: int = 2_000  # samples in one pass of an evaluation; of a convolutional network a tenth takes half as long
    ends: tuple[str, ...] = SPLITS  # the splits that are measured when a trial is over
    large: bool = False  # True: a trial leaves neither its weights nor the spectra of its layers

    def __post_init__(self) -> None:
        if type(self.batch_size) is not int or self.batch_size < 1:
            raise InputError(f"task {self.name!r}: batch_size is {self.batch_size}; give a whole number, at least 1")
        for name in self.ends:
            refuse_unless(f"task {self.name!r}: a split in ends", name, SPLITS)
        object.__setattr__(self, "goal", goals.checked(self.goal, f"task {self.name!r}"))
        fields_checked(self, data=SPLIT, model=MAKES, optimizer=OPTIMIZES)
        if isinstance(self.model, nn.Module):
            raise InputError(f"task {self.name!r}: model is a network, {type(self.model).__name__}; give {MAKES}")
        if self.classes is not None:
            for name in SPLITS:
                if isinstance(split := getattr(self.data, name), Batch):
                    _refuse_bad_labels(self.name, name, split.targets, self.classes)

    @cached_property
    def steps_per_epoch(self) -> int:
        """Batches in one pass over the training split, the last one possibly smaller."""
        return -(-len(self.data.train) // self.batch_size)

    @cached_property
    def example(self) -> Inputs:
        """The first training sample's inputs [1, ...], what the model can be traced with."""
        return self.data.train.take(slice(0, 1)).inputs

    @cached_property
    def examples(self) -> Inputs:
        """The first two training samples' inputs [2, ...], by which networks are rebuilt and proven equal."""
        return self.data.train.take(slice(0, 2)).inputs

    def init(self, module: nn.Module, seed: int) -> None:
        """Give `module` fresh weights in place, by the task's rule `fresh`; its size may be another than the task's.

        They depend on the module's shape and `seed` alone, and are those of `start(task, seed)` where the network is
        the task's own. torch's generators are left as they were.
        """
        with seeded(module, seed):
            self.fresh(module)

    @cached_property
    def redraws(self) -> bool:
        """Whether `init` gives the task's network the very weights that a run begins with.

        If not, the task has no rule for a network of another size: the network's own constructor draws in its own way.
        """
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            begun, other = self.model(), self.model()
        try:
            self.init(other, 0)
        except InputError:
            return False
        drawn = other.state_dict()
        return all(torch.equal(value, drawn[name]) for name, value in begun.state_dict().items())

    def batch(self, seed: int, step: int, share: slice = WHOLE) -> Batch:
        """Return the training batch of step `step`, counted from 0, of the stream that `seed` names.

        A pure function: the order is a fresh shuffle for each (seed, epoch), and another seed is another stream. With
        `carry` it begins at another sample, and goes on in order from there.
        `share` picks rows of the batch, and only those are loaded. An augmented batch is made whole first, so that its
        draws are those of one process.
        """
        epoch, within = divmod(step, self.steps_per_epoch)
        train = self.data.train
        index = self.order(seed, epoch)[within]
        if self.augment is None:
            return train.take(index if share is WHOLE else index[share])
        whole = self.augment(train.take(index), luck(seed, "augmentation", step))
        return whole if share is WHOLE else whole.take(share)

    def order(self, seed: int, epoch: int) -> tuple[Tensor, ...]:
        """Return the numbers of the samples of each batch of an epoch; without `carry`, parts of one tensor in turn."""
        return (_order if self.carry is None else _in_order)(*self._samples, seed, epoch)

    @cached_property
    def _samples(self) -> tuple[int, int, torch.device]:
        """How many samples there are, how many are in a batch, and where their numbers are wanted."""
        return len(self.data.train), self.batch_size, getattr(self.data.train, "device", CPU)

    def batches(self, seed: int, epoch: int, first: int = 0) -> Iterator[Batch]:
        """The training batches of one epoch from the `first`-th on: a fresh shuffle for each (seed, epoch)."""
        begin = epoch * self.steps_per_epoch
        return (self.batch(seed, begin + at) for at in range(first, self.steps_per_epoch))


CPU = torch.device("cpu")


@lru_cache(maxsize=4)  # the shuffle of an epoch is made once, also where several streams are read in turn
def _order(samples: int, size: int, device: torch.device, seed: int, epoch: int) -> tuple[Tensor, ...]:
    """The numbers of each batch's samples."""
    return torch.split(torch.randperm(samples, generator=luck(seed, "data order", epoch)).to(device), size)


@lru_cache(maxsize=4)
def _in_order(samples: int, size: int, device: torch.device, seed: int, epoch: int) -> tuple[Tensor, ...]:
    """The same where each row of a batch reads a stretch of its own; all are `steps` long but the last."""
    steps, first = -(-samples // size), int(torch.randint(samples, (), generator=luck(seed, "data order", epoch)))
    begins = torch.arange(0, samples, steps)
    rows = (begins[begins + step < samples] + step for step in range(steps))
    return tuple(((row + first) % samples).to(device) for row in rows)


@contextmanager
def orders_kept(streams: int) -> Iterator[None]:
    """Inside, the orders of so many streams of batches are kept, for runs that go on in turn."""
    global _order, _in_order
    before = _order, _in_order
    _order, _in_order = (lru_cache(maxsize=streams + 4)(each.__wrapped__) for each in before)
    try:
        yield
    finally:
        _order, _in_order = before


def _refuse_bad_labels(task: str, split: str, labels: Tensor, classes: int) -> None:
    if labels.dim() != 1 or labels.dtype is not torch.int64:
        raise InputError(
            f"task {task!r}: {split} labels are {labels.dtype} of shape {tuple(labels.shape)}; "
            "give one torch.int64 number for each sample"
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise InputError(
            f"task {task!r}: {split} labels run from {low} to {high}; with {classes} classes "
            f"they must lie in 0..{classes - 1}"
        )


def fingerprint(task: Task) -> str:
    """A digest of what a checkpoint depends on: the data (every 97th sample), its order, the batch size."""
    splits = {name: getattr(task.data, name) for name in SPLITS}
    samples = {f"{name}/{part}": seen for name, split in splits.items() for part, seen in glimpse(split).items()}
    sizes = torch.tensor([task.batch_size, *map(len, splits.values())])
    return f"{task.name}:{processes.digest(samples | {'sizes': sizes}).hex()}"
