"""Computed: weights that a module works out from parameters under other names, as weight norm does.

w = g v / ‖v‖. A smaller v has smaller norms, so g takes up the difference: what is left of w is as it was. Likewise
w / uᵀ w v, the spectral norm: u takes up the difference, until training works it out anew.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import remove_spectral_norm, remove_weight_norm
from torch.nn.utils.parametrizations import _SpectralNorm, _WeightNorm
from torch.nn.utils.parametrize import ParametrizationList
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from sapwood.masking.looking import free
from sapwood.shrinking.tracing.duplicate import duplicate

PARAMETRIZED = re.compile(r"(^|\.)parametrizations\.\w+\.(original\d*|\d+\..+)$")
Norms = Mapping["Normed | Spectral", Tensor]


@dataclass(frozen=True)
class Normed:
    """A weight under weight norm: whose, which, the names of its two parameters, and the dimension of g; -1: one."""

    module: nn.Module
    name: str
    g: str
    v: str
    dim: int


@dataclass(frozen=True)
class Spectral:
    """A weight under spectral norm: whose, which, the names of its tensors, and the dimension of its rows."""

    module: nn.Module
    name: str
    weight: str
    u: str
    v: str
    dim: int

    def of(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """The norm."""
        matrix = tensors[self.weight].data.movedim(self.dim, 0).flatten(1)
        return tensors[self.u].data @ (matrix @ tensors[self.v].data)


def owner(tensor: str) -> str:
    """The module whose attributes follow from a tensor; of a parametrised weight the one that has the weight."""
    found = PARAMETRIZED.search(tensor)
    return tensor[: found.start()] if found else tensor.rpartition(".")[0]


def recompute_(module: nn.Module) -> None:
    """The older norms and masks keep their weight from call to call; parametrised ones are worked out whenever read."""
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, WeightNorm | BasePruningMethod):
            hook(module, ())
        elif isinstance(hook, SpectralNorm):
            setattr(module, hook.name, hook.compute_weight(module, do_power_iteration=False))


def sources(model: nn.Module) -> Iterator[nn.Parameter]:
    """The parameters of modules that work weights out from some."""
    for module in model.modules():
        hooks = module._forward_pre_hooks.values()
        known = any(isinstance(hook, WeightNorm | BasePruningMethod | SpectralNorm) for hook in hooks)
        if known or isinstance(module, ParametrizationList):
            yield from module.parameters()


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
    return duplicate(model, computed(model))


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


def spectral(model: nn.Module) -> Iterator[Spectral]:
    """All weights under spectral norm, in its older and its newer form."""
    for inside, module in model.named_modules():
        start = f"{inside}." if inside else ""
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, SpectralNorm):
                weight, u, v = (f"{start}{hook.name}_{end}" for end in ("orig", "u", "v"))
                yield Spectral(module, hook.name, weight, u, v, hook.dim)
        for name, steps in getattr(module, "parametrizations", {}).items():
            if isinstance(steps[0], _SpectralNorm) and hasattr(steps[0], "_u"):
                at = f"{start}parametrizations.{name}"
                yield Spectral(module, name, f"{at}.original", f"{at}.0._u", f"{at}.0._v", steps[0].dim)


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    every = (*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False))
    return dict(every)


def norms_of(model: nn.Module, cut: Mapping[str, Mapping[int, Tensor]]) -> Norms:
    """The norms that become smaller when tensors lose what `cut` says, {tensor: {dimension: which stay}}."""
    tensors = _tensors(model)
    norms: dict[Normed | Spectral, Tensor] = {
        weight: torch.norm_except_dim(tensors[weight.v].data, 2, weight.dim)
        for weight in normed(model)
        if set(cut.get(weight.v, ())) - {weight.dim}
    }
    return norms | {weight: weight.of(tensors) for weight in spectral(model) if cut.get(weight.weight)}


def rescale_(model: nn.Module, before: Norms, cut: Mapping[str, Mapping[int, Tensor]]) -> None:
    """Let g make up for what the norms have lost. Where nothing but 0 is left of a slice of v, g is 0 instead."""
    tensors = _tensors(model) if before else {}
    for weight, old in before.items():
        if isinstance(weight, Spectral):
            tensors[weight.u].data = tensors[weight.u].data * (old / weight.of(tensors))
            continue
        g, v = tensors[weight.g], tensors[weight.v]
        for dim, stay in cut[weight.v].items():
            old = old.index_select(dim, stay.nonzero().flatten().to(old.device)) if dim == weight.dim else old
        new = torch.norm_except_dim(v.data, 2, weight.dim)
        g.data = g.data * (new / old)
        v.data = torch.where(new == 0, torch.ones_like(v.data), v.data)


class _AsItIs(nn.Module):
    """In place of a norm: v, the last of what it is worked out from, is the weight."""

    def forward(self, *given: Tensor) -> Tensor:
        return given[-1]


def plain_(model: nn.Module) -> dict[str, Tensor]:
    """Take the norms away; the weight itself, under the names of the parameters it was worked out from."""
    found = dict[str, Tensor]()
    for weight in list(normed(model)):
        steps: Any = dict(getattr(weight.module, "parametrizations", {})).get(weight.name)
        if steps is None:
            remove_weight_norm(weight.module, weight.name)
        else:  # torch's own way to remove it would take it from the class, which copies of a module share
            steps.original1.data = getattr(weight.module, weight.name).detach()
            steps[0] = _AsItIs()
        found[weight.g] = found[weight.v] = getattr(weight.module, weight.name) if steps is None else steps.original1
    return found | _without_spectral(model)


def _without_spectral(model: nn.Module) -> dict[str, Tensor]:
    tensors, found = _tensors(model), dict[str, Tensor]()
    for weight in list(spectral(model)):
        steps: Any = dict(getattr(weight.module, "parametrizations", {})).get(weight.name)
        if steps is None:
            remove_spectral_norm(weight.module, weight.name)
        else:
            steps.original.data = steps.original.data / weight.of(tensors)
            steps[0] = _AsItIs()
        found[weight.weight] = getattr(weight.module, weight.name) if steps is None else steps.original
        found |= {name: tensors[name] for name in (weight.u, weight.v)}
    return found


def sharing(model: nn.Module) -> dict[int, Any]:
    """For `deepcopy`: parameters of the copy's own on the model's numbers; to be replaced, never changed in place."""
    plain = (p for p in model.parameters() if type(p) is nn.Parameter)
    return computed(model) | {id(p): nn.Parameter(p.data, p.requires_grad) for p in plain}


def twin(model: nn.Module) -> nn.Module:
    """A copy on the model's numbers; its own is all that a run may write to."""
    return duplicate(model, sharing(model))


def own_(copy: nn.Module, model: nn.Module) -> None:
    """Give a copy made with `sharing` numbers of its own where they are the model's still."""
    theirs = {p.data_ptr() for p in model.parameters()}
    for p in copy.parameters():
        if p.data_ptr() in theirs:
            p.data = p.data.clone()
