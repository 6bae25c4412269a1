"""Masks: which weights of a network are kept; plain data outside the network.

A mask is a bool tensor, True where the weight stays, filed under the parameter's name.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from sapwood import processes
from sapwood.currency import Masks as Masks
from sapwood.errors import InputError, unknown


def sparsity(masks: Mapping[str, Tensor]) -> float:
    """The fraction removed, of all entries of the tensors named in `masks`: zeros / entries; 0 without masks."""
    entries = sum(keep.numel() for keep in masks.values())
    return 1 - _nonzero(masks.values()) / entries if entries else 0.0


def zeros(tensors: Mapping[str, Tensor]) -> int:
    """How many entries are exactly 0."""
    return sum(t.numel() for t in tensors.values()) - _nonzero(tensors.values())


def _nonzero(tensors: Iterable[Tensor]) -> int:
    """How many entries are not 0; a device is waited for once."""
    counts = [processes.whole(torch.count_nonzero(t)) for t in tensors]  # of what is sharded: over all processes
    return sum(torch.stack([count.to(counts[0].device) for count in counts]).tolist()) if counts else 0


def intersect(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> Masks:
    """Kept where both keep; a name that only one of them has keeps its mask."""
    both = {name: keep & second[name] if name in second else keep for name, keep in first.items()}
    return both | {name: keep for name, keep in second.items() if name not in first}


def nested(earlier: Mapping[str, Tensor], later: Mapping[str, Tensor]) -> bool:
    """Whether nothing that `earlier` removed came back in `later`."""
    return all(bool((keep | ~later[name]).all()) for name, keep in earlier.items() if name in later)


def validate(masks: Mapping[str, Tensor], parameters: Mapping[str, Tensor]) -> None:
    """Raise InputError unless every mask is a bool tensor shaped like the parameter it is named after."""
    for name, keep in masks.items():
        if name not in parameters:
            raise unknown("parameter in masks", name, parameters)
        kind = keep.dtype if isinstance(keep, Tensor) else type(keep).__name__
        if kind is not torch.bool:
            raise InputError(f"mask {name!r} is {kind}; a mask is a tensor of torch.bool, True where the weight stays")
        if keep.shape != parameters[name].shape:
            raise InputError(
                f"mask {name!r} has shape {tuple(keep.shape)}; its parameter has {tuple(parameters[name].shape)}"
            )


def thin(keep: Tensor) -> Tensor:
    """The smallest tensor that broadcasts to `keep`: one entry for each neuron or filter where whole ones are removed.

    A step of training reads its masks from memory, and whole units are what is mostly pruned.
    """
    for dim in range(keep.dim() if keep.numel() else 0):
        first = keep.narrow(dim, 0, 1)
        if keep.shape[dim] > 1 and torch.equal(keep, first.expand_as(keep)):
            keep = first
    return keep.contiguous()


@torch.no_grad()
def apply_(parameters: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> None:
    """Set every masked-out entry to exactly 0, in place; NaN and infinite entries too."""
    validate(masks, parameters)
    for name, keep in masks.items():
        part = processes.own(parameters[name])
        part.masked_fill_(processes.own(processes.like(keep, parameters[name])).logical_not().to(part.device), 0)
