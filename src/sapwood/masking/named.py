"""Which parameter the name of a mask means, everywhere it is used; and whether zeros in it are zeros in the layer.

A layer may compute its weight from a parameter of another name: torch's own masks keep `weight_orig`, weight norm keeps
`weight_v`, a parametrisation `parametrizations.weight.original`. A mask for `weight` is put on that.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.nn.utils.parametrize import ParametrizationList
from torch.nn.utils.weight_norm import WeightNorm

from sapwood import processes
from sapwood.errors import InputError, unknown
from sapwood.masking import masks as mask

COMPUTING = (ParametrizationList, WeightNorm, prune.BasePruningMethod)  # what computes a weight from a parameter
BEHIND = ("{}_orig", "{}_v", "parametrizations.{}.original", "parametrizations.{}.original1")


@dataclass(frozen=True)
class Place:
    """Where a parameter is registered."""

    path: tuple[str, ...]  # from the model to the module that owns it
    owner: nn.Module
    leaf: str


@dataclass(frozen=True)
class Masked:
    """A parameter with a mask, under the names that the mask was given."""

    names: tuple[str, ...]  # more than one if the weight is tied and has a mask under each name
    keep: Tensor
    weight: nn.Parameter
    places: tuple[Place, ...]  # more than one if the weight is tied


def masked(model: nn.Module, masks: Mapping[str, Tensor]) -> list[Masked]:
    """The parameter of every mask, each once; nothing is changed."""
    every = dict(model.named_parameters(remove_duplicate=False))
    found: dict[int, Masked] = {}
    for name, keep in masks.items():
        weight = every[_actual(name, every)]
        _refuse_unusable(name, weight)
        mask.validate({name: keep}, {name: weight})
        _refuse_other_parts(name, keep, weight)
        places = tuple(_places(model, every, weight))
        other = found.get(id(weight), Masked((), keep.to(weight.device), weight, places))
        if not torch.equal(processes.whole(other.keep), processes.whole(keep.to(weight.device))):
            raise InputError(
                f"masks {other.names[0]!r} and {name!r} differ but are of the same tensor (the weights are tied); "
                "give one of them, or the same mask twice"
            )
        found[id(weight)] = replace(other, names=(*other.names, name))
        for place in places:
            _refuse_unless_zeros_stay(name, place, other.keep)
    return [replace(each, keep=processes.like(each.keep, each.weight)) for each in found.values()]


def _actual(name: str, every: Mapping[str, Tensor]) -> str:
    """The name of the parameter from which the weight called `name` comes."""
    path, _, leaf = str(name).rpartition(".")
    behind = (f"{path}.{form.format(leaf)}".removeprefix(".") for form in BEHIND)
    found = next((n for n in (name, *behind) if n in every), None)
    if found is None:
        raise unknown("parameter in masks", name, every)
    return found


def _places(model: nn.Module, every: Mapping[str, Tensor], weight: Tensor) -> Iterator[Place]:
    for name, parameter in every.items():
        if parameter is weight:
            path, _, leaf = name.rpartition(".")
            yield Place(tuple(path.split(".")) if path else (), model.get_submodule(path), leaf)


def _refuse_unusable(name: str, weight: Tensor) -> None:
    kind = type(weight).__name__
    odd = [p for p in getattr(weight, "placements", ()) if type(p).__name__ not in ("Shard", "Replicate")]
    if odd:
        why = f"is sharded over processes by {odd[0]}, which no mask is cut by"
        do = "hold masks on a model that fully_shard alone has sharded"
    elif torch.nn.parameter.is_lazy(weight):
        why, do = f"has no shape yet ({kind})", "run the model once first"
    elif weight.is_meta:
        why, do = (
            "is on the meta device and has no values",
            "give the model its weights first, for example by to_empty()",
        )
    elif any(stride == 0 and size > 1 for stride, size in zip(weight.stride(), weight.shape, strict=True)):
        why, do = "is expanded: several entries are one number in memory", "make it an ordinary tensor by .contiguous()"
    elif not (weight.is_floating_point() or weight.is_complex()) or weight.layout != torch.strided:
        why, do = f"is {weight.dtype}, {weight.layout}", "masks are held on dense weights that are trained"
    else:
        return
    raise InputError(f"parameter {name!r} {why}; {do}")


def _refuse_other_parts(name: str, keep: Tensor, weight: Tensor) -> None:
    """A mask that is sharded must have its parts where its weight has them."""
    given, wanted = (getattr(each, "placements", None) for each in (keep, weight))
    if given is not None and given != wanted:
        raise InputError(
            f"mask {name!r} is sharded by {given}, its parameter {f'by {wanted}' if wanted else 'is not'}; "
            "give the whole mask, which each process takes its part of"
        )


def _refuse_unless_zeros_stay(name: str, place: Place, keep: Tensor) -> None:
    """Where a layer computes its weight from the masked parameter, entries that are 0 must be 0 in what is computed."""
    owner, leaf = place.owner, place.leaf
    computed = (*owner._forward_pre_hooks.values(), owner if isinstance(owner, ParametrizationList) else None)
    if processes.sharded(owner._parameters[leaf]) and any(isinstance(each, COMPUTING) for each in computed):
        raise InputError(
            f"mask {name!r} is on a parameter that is sharded over processes (a DTensor) and from which a weight is "
            "computed; shard a model without parametrisations, weight norm and torch's own masks"
        )
    if isinstance(owner, ParametrizationList):
        why = _lost(owner, leaf, keep)
        if why:
            raise InputError(
                f"mask {name!r} is on {leaf!r} of a parametrisation, {_kinds(owner)}, {why}; "
                "mask another parameter, or remove it first by torch.nn.utils.parametrize.remove_parametrizations"
            )
    for hook in owner._forward_pre_hooks.values():
        if isinstance(hook, WeightNorm) and leaf == f"{hook.name}_v":
            if not torch.norm_except_dim(keep.float(), 2, hook.dim).all():
                raise InputError(
                    f"mask {name!r} removes all of a slice that weight norm divides by its norm, which would be 0 / 0; "
                    f"mask {hook.name + '_g'!r} instead, or call torch.nn.utils.remove_weight_norm first"
                )
        elif isinstance(hook, prune.BasePruningMethod):
            continue  # multiplies entry by entry


def _kinds(owner: ParametrizationList) -> str:
    return ", ".join(type(step).__name__.lstrip("_") for step in owner)


def _lost(owner: ParametrizationList, leaf: str, keep: Tensor) -> str:
    """Why zeros of the original are lost in the computed weight; tried on values near those it is made of, too."""
    luck = torch.Generator().manual_seed(0)
    for spread in (0.0, 0.5, 1.0):  # an adapter that begins at 0 will not stay there
        values: dict[str, Tensor] = {}
        for name, value in owner.named_parameters():
            drawn = torch.randn(value.shape, generator=luck, dtype=torch.float64).to(value)
            near = value.detach() + spread * drawn
            values[name] = near.masked_fill(keep.logical_not(), 0) if name == leaf else near
        buffers = {name: value.clone() for name, value in owner.named_buffers()}
        try:
            with torch.no_grad():
                computed = torch.func.functional_call(owner, values | buffers, ())
            removed = keep.logical_not().broadcast_to(computed.shape)
        except Exception as error:
            return f"which could not be tried ({type(error).__name__}: {error})"
        left, of = int(torch.count_nonzero(computed[removed])), int(removed.sum())
        if left:
            return f"and {left} of the {of} removed entries are not 0 in the weight that it computes"
    return ""
