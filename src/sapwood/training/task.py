"""Task: a model, its data and how it is trained; a value that never changes."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sapwood.errors import InputError
from sapwood.training.draws import luck


class Batch(NamedTuple):
    """Samples and what should be said of them. A whole split is a Batch too."""

    inputs: Tensor  # [B, ...]
    targets: Tensor  # [B, ...], class labels for classification

    def to(self, device: torch.device | str) -> "Batch":
        """The same samples on another device."""
        return Batch(self.inputs.to(device), self.targets.to(device))

    def rows(self, index: Tensor | slice) -> "Batch":
        """The samples at `index`, whole numbers or a slice."""
        if isinstance(index, slice):
            return Batch(self.inputs[index], self.targets[index])
        # Indexing with brackets gives the same, element by element: at 784 numbers a row it takes far longer.
        return Batch(self.inputs.index_select(0, index), self.targets.index_select(0, index))


@dataclass(frozen=True)
class Data:
    """The three splits. Decisions read `train` and `valid`; `test` is for the last number only."""

    train: Batch
    valid: Batch
    test: Batch

    def __post_init__(self) -> None:
        for name in ("train", "valid", "test"):
            _refuse_bad_split(name, getattr(self, name))

    def to(self, device: torch.device | str) -> "Data":
        """The same splits on another device."""
        return Data(self.train.to(device), self.valid.to(device), self.test.to(device))


Loss = Callable[[nn.Module, Batch, Tensor], Tensor]  # (model, batch, the model's outputs) -> mean over the batch
Metrics = Callable[[Tensor, Batch], dict[str, Tensor]]  # (outputs, batch) -> sums over the batch's samples
Augment = Callable[[Batch, torch.Generator], Batch]  # (batch, where luck comes from) -> the batch, changed at random
Course = Callable[[float], float]  # share of a training phase that is over, [0, 1) -> factor on the learning rates


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
    checkpoint has nothing to say about them. Only training batches are augmented.
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

    def __post_init__(self) -> None:
        if type(self.batch_size) is not int or self.batch_size < 1:
            raise InputError(f"task {self.name!r}: batch_size is {self.batch_size}; give a whole number, at least 1")
        if self.classes is not None:
            for name in ("train", "valid", "test"):
                _refuse_bad_labels(self.name, name, getattr(self.data, name).targets, self.classes)

    @cached_property
    def steps_per_epoch(self) -> int:
        """Batches in one pass over the training split, the last one possibly smaller."""
        return -(-len(self.data.train.targets) // self.batch_size)

    def batches(self, seed: int, epoch: int, first: int = 0) -> Iterator[Batch]:
        """The training batches of one epoch from the `first`-th on: a fresh shuffle for each (seed, epoch)."""
        train = self.data.train
        order = torch.randperm(len(train.targets), generator=luck(seed, "data order", epoch)).to(train.targets.device)
        for step, index in enumerate(torch.split(order, self.batch_size)[first:], start=first):
            batch = train.rows(index)
            if self.augment is not None:
                batch = self.augment(batch, luck(seed, "augmentation", epoch * self.steps_per_epoch + step))
            yield batch


def _refuse_bad_split(name: str, split: Batch) -> None:
    inputs, targets = split
    if len(inputs) == 0 or len(targets) == 0:
        raise InputError(f"the {name} split is empty: inputs {tuple(inputs.shape)}; give at least one sample")
    if len(inputs) != len(targets):
        raise InputError(f"the {name} split has {len(inputs)} inputs but {len(targets)} targets; they must pair up")
    if inputs.is_floating_point() and not bool(torch.isfinite(inputs).all()):
        bad = int(torch.isfinite(inputs).logical_not().sum())
        raise InputError(f"the {name} split's inputs hold {bad} NaN or infinite values; clean the data first")


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
