"""Misfits: what is given to `shrink` and does not fit its model, each refused by name."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from sapwood.errors import InputError, unknown
from sapwood.shrinking.cutting.cut import Keep
from sapwood.shrinking.tracing.graph import named_tensors
from sapwood.shrinking.tracing.site import Site


def refuse_misfits(
    model: nn.Module, keep: Keep, sites: Sequence[Site], optimizer: Optimizer | None, folded: bool
) -> None:
    """Raise where what is to stay, the sites or the optimiser are not this model's."""
    known, tensors = {site.name: site for site in sites}, dict(named_tensors(model))
    for name, kept in keep.items():
        if name not in known:
            raise unknown("site in keep", name, known)
        if folded and known[name].lossy:
            raise InputError(f"site {name!r} is lossy, so nothing folded would stay equal; use removed='zeroed'")
        if kept.dtype is not torch.bool or kept.shape != (known[name].units,):
            raise InputError(
                f"keep for site {name!r} is {kept.dtype} of shape {tuple(kept.shape)}; give torch.bool, one for each "
                f"of its {known[name].units} units, True where it stays"
            )
        if not folded and not bool(kept.any()):
            raise InputError(
                f"keep leaves no unit of site {name!r}; at least one must stay, as with select.drop(..., least=1)"
            )
        for slot in known[name].slots:
            if slot.tensor not in tensors or tensors[slot.tensor].shape[slot.dim] != len(slot.unit_of):
                raise InputError(f"site {name!r} does not fit {slot.tensor!r}; find the sites of this network anew")
    if optimizer is not None and len(others(model, optimizer)) == sum(len(g["params"]) for g in optimizer.param_groups):
        raise InputError("the optimiser trains no parameter of the model's; give the one that trains it")


def refuse_no_numbers(model: nn.Module) -> None:
    """Raise where there is nothing that a proof could run on."""
    bare = next((name for name, tensor in named_tensors(model) if tensor.is_meta), None)
    if bare is not None:
        raise InputError(
            f"{bare!r} has no numbers, as on torch's meta device, so nothing can be proven; load the model first, or "
            "give check=False"
        )


def others(model: nn.Module, optimizer: Optimizer | None) -> dict[int, Any]:
    """For `deepcopy`: parameters that an optimiser trains beside the model's, such as a loss's, stay the same ones."""
    mine, groups = {id(p) for p in model.parameters()}, [] if optimizer is None else optimizer.param_groups
    return {id(p): p for group in groups for p in group["params"] if id(p) not in mine}
