"""Hastened: updates like `descend` whose passes are made in lower precision, or by a network that was compiled."""

from typing import Any

import torch
from torch import Tensor, nn

from sapwood.errors import InputError
from sapwood.training.loop import Update, descended, passed
from sapwood.training.run import Run
from sapwood.training.task import Batch


def casting(dtype: torch.dtype = torch.bfloat16) -> Update:
    """An update whose forward pass and loss run in `dtype` where that is safe, by torch.autocast.

    Weights, their gradients and the optimiser stay in what they are. InputError for float16: its gradients would need
    a scaled loss.
    """
    if dtype is not torch.bfloat16:
        raise InputError(f"dtype is {dtype}; give torch.bfloat16: gradients of smaller ranges need a scaled loss")

    def cast(run: Run, batch: Batch) -> tuple[Tensor, Tensor]:
        with torch.autocast(run.device.type, dtype):
            found = passed(run, batch, run.forward)
        return descended(run, *found)

    return cast


def compiling(**options: Any) -> Update:
    """An update by a network that torch.compile has made, with these options of it, such as mode="max-autotune".

    It is compiled when it first runs, and anew when masks are put on it or it becomes another network.
    """
    made: list[tuple[nn.Module, Any]] = []

    def compiled(run: Run, batch: Batch) -> tuple[Tensor, Tensor]:
        if not made or made[0][0] is not run.forward:
            made[:] = [(run.forward, torch.compile(run.forward, **options))]
        return descended(run, *passed(run, batch, made[0][1]))

    return compiled
