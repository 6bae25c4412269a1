"""Samples: how many an exported graph takes, any number or one, and an example that has as many."""

import warnings
from itertools import cycle, islice
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from sapwood.errors import InputError
from sapwood.measure.example import Example, as_tuple


def samples_of(example: Example) -> int:
    """How many samples an example has: the first dimension of its first tensor, 1 where there is none."""
    sizes = (x.shape[0] for x in pytree.tree_leaves(as_tuple(example)) if isinstance(x, Tensor) and x.dim())
    return next(sizes, 1)


def wanted(example: Example, batch: int | None, any_batch: bool | None) -> tuple[tuple[Any, ...], bool]:
    """The inputs to export with, and whether the batch stays open, from the option and the one that it replaced."""
    if any_batch is not None:
        new = "batch=None, the default," if any_batch else "batch=N"
        warnings.warn(
            f"any_batch={any_batch} is now {new}; the old name goes with the next release", DeprecationWarning, 3
        )
        batch = None if any_batch else samples_of(example)
    if batch is None:
        return _several(as_tuple(example)), True
    if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
        raise InputError(f"batch is {batch!r}; give a whole number of samples, or None for any number")
    return _as_many(as_tuple(example), batch), False


def _several(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Two samples or more: torch takes a size of 1 for one that never changes."""
    _refuse_apart(inputs, "an open batch is")
    return _as_many(inputs, 2) if samples_of(inputs) == 1 else inputs


def _as_many(inputs: tuple[Any, ...], batch: int) -> tuple[Any, ...]:
    """The inputs with so many samples: their first ones, again from the first where there are fewer."""
    if samples_of(inputs) == batch:
        return inputs
    _refuse_apart(inputs, f"batch={batch} is")
    chosen = torch.tensor(list(islice(cycle(range(samples_of(inputs))), batch)))
    several: tuple[Any, ...] = pytree.tree_map_only(Tensor, lambda x: x[chosen.to(x.device)], inputs)
    return several


def _refuse_apart(inputs: tuple[Any, ...], what: str) -> None:
    """InputError unless all inputs have the same first dimension, of one sample or more."""
    sizes = {tuple(x.shape[:1]) for x in pytree.tree_leaves(inputs) if isinstance(x, Tensor)}
    if len(sizes) != 1 or sizes & {(), (0,)}:
        raise InputError(
            f"{what} for inputs whose first dimension counts the same samples; the example has {sorted(sizes)} "
            f"there; give such an example, or batch={samples_of(inputs)} for the sizes that it has"
        )
