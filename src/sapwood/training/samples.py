"""Samples: what a task learns from, taken by number. A Batch is samples in memory; Windows and Shards are others.

`take` is pure: the same numbers give the same bits, whoever asks and in whatever order. That is why a run needs to save
nothing about its data, and why each of several processes can load its own share only.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from sapwood.errors import InputError
from sapwood.processes import digest

Inputs = Any  # a tensor [B, ...]; or a tuple or dict of such tensors, the arguments of a model's forward
EVERY = 97  # a digest looks at one sample of so many


class Samples(Protocol):
    """Samples that are taken by number, 0 to len - 1.

    `device`, where there is such an attribute, says where the numbers are wanted; else they come on the CPU.
    """

    def __len__(self) -> int: ...

    def take(self, index: Tensor | slice, /) -> "Batch":
        """Return the samples at `index`, whole numbers [B] or a slice, in that order."""
        ...

    def digest(self) -> bytes:
        """Return a fingerprint: other samples have another one."""
        ...

    def to(self, device: torch.device | str, /) -> "Samples":
        """Return samples whose batches are on `device`; itself if they are there."""
        ...


class _Pair(NamedTuple):
    inputs: Inputs
    targets: Tensor


class Batch(_Pair):
    """Inputs, and the targets [B, ...] they should give. A whole split in memory is a Batch too.

    Inputs are a tensor [B, ...], or a tuple or dict of tensors where the model takes several. A Batch unpacks into its
    two parts; its length is the number of samples.
    """

    __slots__ = ()

    def __len__(self) -> int:
        return self.targets.shape[0]

    def _replace(self, **parts: Any) -> "Batch":
        return Batch(parts.get("inputs", self.inputs), parts.get("targets", self.targets))

    @property
    def device(self) -> torch.device:
        """Where the targets are."""
        return self.targets.device

    def to(self, device: torch.device | str) -> "Batch":
        """Return the same samples on another device; itself if they are there."""
        there = Batch(_each(self.inputs, lambda part: part.to(device)), self.targets.to(device))
        return self if _same(there.inputs, self.inputs) and there.targets is self.targets else there

    def take(self, index: Tensor | slice) -> "Batch":
        """Return the samples at `index`, whole numbers on the same device, or a slice."""
        inputs, targets = self.inputs, self.targets
        if isinstance(index, slice):
            return Batch(_each(inputs, lambda part: part[index]), targets[index])
        # Indexing with brackets gives the same, element by element: at 784 numbers a row it takes far longer.
        if isinstance(inputs, Tensor):
            return Batch(inputs.index_select(0, index), targets.index_select(0, index))
        return Batch(_each(inputs, lambda part: part.index_select(0, index)), targets.index_select(0, index))

    def rows(self, index: Tensor | slice) -> "Batch":
        """Return `take(index)`: the old name, which warns."""
        warnings.warn("Batch.rows is called take now; rows goes in the next release", FutureWarning, stacklevel=2)
        return self.take(index)

    def digest(self) -> bytes:
        """Return a fingerprint of every 97th sample and of how many there are."""
        return digest(glimpse(self) | {"": torch.tensor(len(self))})

    def named(self) -> dict[str, Tensor]:
        """Return the tensors by name: "inputs" and "targets", or "inputs/0" and the like where there are several."""
        if isinstance(self.inputs, Tensor):
            return {"inputs": self.inputs, "targets": self.targets}
        pairs = self.inputs.items() if isinstance(self.inputs, Mapping) else enumerate(self.inputs)
        return {f"inputs/{name}": part for name, part in pairs} | {"targets": self.targets}


@dataclass(frozen=True)
class Data:
    """The three splits. Decisions read `train` and `valid`; `test` is for the last number only."""

    train: Samples
    valid: Samples
    test: Samples

    def __post_init__(self) -> None:
        for name in ("train", "valid", "test"):
            _refuse_bad_split(name, getattr(self, name))

    def to(self, device: torch.device | str) -> "Data":
        """Return the same splits on another device; itself if they are there."""
        moved = [each.to(device) for each in (self.train, self.valid, self.test)]
        same = all(new is old for new, old in zip(moved, (self.train, self.valid, self.test), strict=True))
        return self if same else Data(*moved)


def glimpse(samples: Samples) -> dict[str, Tensor]:
    """Return a small part of the samples, by name, to tell them from others: every 97th, or the digest's bytes."""
    if isinstance(samples, Batch):
        return {name: part[::EVERY] for name, part in samples.named().items()}
    return {"digest": torch.frombuffer(bytearray(samples.digest()), dtype=torch.uint8)}


def same_samples(one: Batch, other: Batch) -> bool:
    """Return whether two batches hold the same bits under the same names."""
    mine, theirs = one.named(), other.named()
    return mine.keys() == theirs.keys() and digest(mine) == digest(theirs)


def _each(inputs: Inputs, change: Callable[[Tensor], Tensor]) -> Inputs:
    """The inputs with every tensor changed."""
    if isinstance(inputs, Tensor):
        return change(inputs)
    if isinstance(inputs, Mapping):
        return {name: change(part) for name, part in inputs.items()}
    return tuple(change(part) for part in inputs)


def _same(new: Inputs, old: Inputs) -> bool:
    """Whether no tensor had to move."""
    if isinstance(old, Tensor):
        return new is old
    if isinstance(old, Mapping):
        return all(new[name] is part for name, part in old.items())
    return all(one is other for one, other in zip(new, old, strict=True))


def _refuse_bad_split(name: str, split: Samples) -> None:
    if not (hasattr(split, "take") and hasattr(split, "digest")):
        raise InputError(
            f"the {name} split is a {type(split).__name__}; give Batch(inputs, targets), the tensors of all of its "
            "samples, or samples of your own that have __len__, take, digest and to"
        )
    if not isinstance(split, Batch):
        if len(split) == 0:
            raise InputError(f"the {name} split is empty; give at least one sample")
        return
    *inputs, targets = split.named().values()
    for part in inputs:
        if len(part) == 0 or len(targets) == 0:
            raise InputError(f"the {name} split is empty: inputs {tuple(part.shape)}; give at least one sample")
        if len(part) != len(targets):
            raise InputError(f"the {name} split has {len(part)} inputs but {len(targets)} targets; they must pair up")
        if part.is_floating_point() and not bool(torch.isfinite(part).all()):
            bad = int(torch.isfinite(part).logical_not().sum())
            raise InputError(f"the {name} split's inputs hold {bad} NaN or infinite values; clean the data first")
