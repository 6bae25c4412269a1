"""Computed: weights that a module works out from parameters under other names, as weight norm does.

w = g v / ‖v‖. A smaller v has smaller norms, so g takes up the difference: what is left of w is as it was.
"""

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import remove_weight_norm
from torch.nn.utils.parametrizations import _WeightNorm
from torch.nn.utils.weight_norm import WeightNorm

from sapwood.looking import free

PARAMETRIZED = re.compile(r"(^|\.)parametrizations\.\w+\.original\d*$")
Norms = Mapping["Normed", Tensor]


@dataclass(frozen=True)
class Normed:
    """A weight under weight norm: whose, which, the names of its two parameters, and the dimension of g; -1: one."""

    module: nn.Module
    name: str
    g: str
    v: str
    dim: int


def owner(tensor: str) -> str:
    """The module whose attributes follow from a tensor; of a parametrised weight the one that has the weight."""
    found = PARAMETRIZED.search(tensor)
    return tensor[: found.start()] if found else tensor.rpartition(".")[0]


def recompute_(module: nn.Module) -> None:
    """The older weight norm keeps its weight from call to call; parametrised ones are worked out whenever read."""
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, WeightNorm):
            hook(module, ())


def computed(model: nn.Module) -> dict[int, Any]:
    """For `deepcopy`: what modules have worked out and keep, as plain values; torch copies parameters only.

    Masks that are held are not held in the copy: it will have other shapes.
    """
    kept = [value for module in model.modules() for value in vars(module).values()]
    listed = [part for value in kept if isinstance(value, list) for part in value]
    return {
        id(value): value.detach().clone()
        for value in (*kept, *listed)
        if isinstance(value, Tensor) and not value.is_leaf
    } | free(model)


def copied(model: nn.Module) -> nn.Module:
    """A copy; of a model that has just been trained too."""
    return deepcopy(model, computed(model))


def normed(model: nn.Module) -> Iterator[Normed]:
    """All weights under weight norm, in its older and its newer form."""
    for inside, module in model.named_modules():
        start = f"{inside}." if inside else ""
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, WeightNorm):
                yield Normed(module, hook.name, f"{start}{hook.name}_g", f"{start}{hook.name}_v", hook.dim)
        for name, steps in getattr(module, "parametrizations", {}).items():
            if len(steps) == 1 and isinstance(steps[0], _WeightNorm):
                g, v = (f"{start}parametrizations.{name}.original{n}" for n in (0, 1))
                yield Normed(module, name, g, v, steps[0].dim)


def norms_of(model: nn.Module, cut: Mapping[str, Mapping[int, Tensor]]) -> Norms:
    """The norms that become smaller when tensors lose what `cut` says, {tensor: {dimension: which stay}}."""
    tensors = dict(model.named_parameters(remove_duplicate=False))
    return {
        weight: torch.norm_except_dim(tensors[weight.v].data, 2, weight.dim)
        for weight in normed(model)
        if set(cut.get(weight.v, ())) - {weight.dim}
    }


def rescale_(model: nn.Module, before: Norms, cut: Mapping[str, Mapping[int, Tensor]]) -> None:
    """Let g make up for what the norms have lost. Where nothing but 0 is left of a slice of v, g is 0 instead."""
    tensors = dict(model.named_parameters(remove_duplicate=False))
    for weight, old in before.items():
        g, v = tensors[weight.g], tensors[weight.v]
        for dim, stay in cut[weight.v].items():
            old = old.index_select(dim, stay.nonzero().flatten().to(old.device)) if dim == weight.dim else old
        new = torch.norm_except_dim(v.data, 2, weight.dim)
        g.data = g.data * (new / old)
        v.data = torch.where(new == 0, torch.ones_like(v.data), v.data)


class _AsItIs(nn.Module):
    """In place of a norm: v is the weight."""

    def forward(self, g: Tensor, v: Tensor) -> Tensor:
        return v


def plain_(model: nn.Module) -> dict[str, Tensor]:
    """Take weight norm away; the weight itself, under the names of the parameters it was worked out from."""
    found = dict[str, Tensor]()
    for weight in list(normed(model)):
        steps: Any = dict(getattr(weight.module, "parametrizations", {})).get(weight.name)
        if steps is None:
            remove_weight_norm(weight.module, weight.name)
        else:  # torch's own way to remove it would take it from the class, which copies of a module share
            steps.original1.data = getattr(weight.module, weight.name).detach()
            steps[0] = _AsItIs()
        found[weight.g] = found[weight.v] = getattr(weight.module, weight.name) if steps is None else steps.original1
    return found
