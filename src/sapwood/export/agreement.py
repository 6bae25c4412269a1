"""Agreement: what was exported runs elsewhere, or as another graph; its answers are compared with the network's."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from sapwood.errors import InputError
from sapwood.measure.example import Example, arguments, as_tuple
from sapwood.scoring.untouched import untouched
from sapwood.shrinking.cutting.equal import apart, random_like

TOLERANCE = 1e-5  # relative: rounding of float32 in another order, with much to spare


def disagreement(
    model: nn.Module, run: Callable[..., Any], example: Example, *, any_batch: bool, tolerance: float, what: str
) -> float:
    """max |a - b| / max |a| over the outputs: on the example, on random inputs and, with `any_batch`, one sample more.

    a are the network's answers in its own precision, b those of `run`; InputError if it is above the tolerance.
    """
    with untouched(model):
        found = max(_apart(model, run, x) for x in _inputs(as_tuple(example), any_batch))
    if not found <= tolerance:
        raise InputError(
            f"{what} answers differently from the network: by {found:.1e} of the largest output, {tolerance:.1e} may "
            "be; nothing was written; give tolerance= if that is good enough"
        )
    return found


def _apart(model: nn.Module, run: Callable[..., Any], inputs: tuple[Any, ...]) -> float:
    (a_args, a_kwargs), (b_args, b_kwargs) = (deepcopy(arguments(model, inputs)) for _ in range(2))
    return apart(model(*a_args, **a_kwargs), run(*b_args, **b_kwargs))


def _inputs(example: tuple[Any, ...], any_batch: bool) -> Iterator[tuple[Any, ...]]:
    """The example, random numbers in its place (whole ones stay as they are), and these with one sample more."""
    generator = torch.Generator().manual_seed(0)
    random = pytree.tree_map_only(Tensor, lambda x: random_like(x, generator), example)
    yield example
    yield random
    if any_batch:
        yield pytree.tree_map_only(Tensor, lambda x: torch.cat([x, x[:1]]), random)
