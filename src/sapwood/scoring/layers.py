"""Layers: which weights of a model can be pruned, by what names, and which modules multiply with them."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from sapwood import processes
from sapwood.called import checked
from sapwood.errors import InputError, unknown
from sapwood.scoring.layout import Layer, is_layer, is_turned
from sapwood.scoring.modes import evaluating


@dataclass(frozen=True, eq=False)
class Weight:
    """One tensor to prune: `name` is the first layer it belongs to, `parameter` what the model calls it.

    A weight that several layers share is one weight, and all of them are its `layers`. A parameter that was asked for
    by its own name and belongs to no such layer (of an LSTM, say) has none.
    """

    name: str
    parameter: str
    layers: tuple[nn.Module, ...]
    tensor: Tensor  # computed weights: as it is now

    @property
    def layer(self) -> nn.Module | None:
        """The layer that says how the weight is laid out."""
        return self.layers[0] if self.layers else None


@checked()
def prunable(model: nn.Module) -> dict[str, Layer]:
    """The layers with a weight to prune, by name in order of definition: linear and convolutional, transposed or not.

    Layers that share one weight count once, under the first one's name.
    """
    return {weight.name: _as_layer(weight.layers[0]) for weight in every_weight(model)}


def chosen(model: nn.Module, only: Iterable[str] | None) -> dict[str, Layer]:
    """The prunable layers named in `only`, each by its first name; all of them when it is None."""
    found = weights(model, only)
    for each in found:
        if not each.layers:
            raise InputError(f"{each.name!r} is a parameter of no Linear or Conv layer; name layers here")
    return {each.name: _as_layer(each.layers[0]) for each in found}


def weights(model: nn.Module, only: Iterable[str] | None) -> list[Weight]:
    """The weights named in `only`, by layer or by parameter, each once; those of all layers when it is None."""
    if only is None:
        return every_weight(model)
    if isinstance(only, str):
        raise InputError(f"only is {only!r}; give a list of names, as in only=[{only!r}]")
    found, aliases = _found(model)
    picked: dict[int, Weight] = {}
    for name in only:
        weight = aliases[name] if name in aliases else _parameter(model, name, found)
        picked.setdefault(id(weight.tensor) if not weight.layers else id(weight), weight)
    return list(picked.values())


def every_weight(model: nn.Module) -> list[Weight]:
    """The weights of all layers, each once."""
    found, _ = _found(model)
    if not found:
        scripted = any(hasattr(module, "original_name") for module in model.modules())
        hint = "; it is scripted: give the module that it was made from" if scripted else ""
        raise InputError(f"{type(model).__name__} has no Linear or Conv layer, so there is nothing to prune{hint}")
    return found


def every_layer(model: nn.Module) -> dict[str, Layer]:
    """All layers that multiply with a weight, those that share one too, by name."""
    every_weight(model)
    return {name: module for name, module in model.named_modules() if is_layer(module)}


def _found(model: nn.Module) -> tuple[list[Weight], dict[str, Weight]]:
    """All weights, and each by every name that its layers and itself have."""
    processes.reshard(model)
    known, layers, names = dict[int, str](), dict[int, list[nn.Module]](), dict[int, list[str]]()
    for name, parameter in model.named_parameters(remove_duplicate=False):
        known.setdefault(id(parameter), name)
    for name, module in model.named_modules(remove_duplicate=False):
        if not is_layer(module):
            continue
        key = _key(module)
        if all(module is not other for other in layers.setdefault(key, [])):
            layers[key].append(module)
        names.setdefault(key, []).append(name)
    found, aliases = list[Weight](), dict[str, Weight]()
    for key, its in names.items():
        first = layers[key][0]
        weight = Weight(
            its[0], known.get(key, f"{its[0]}.{_stored(first)}".lstrip(".")), tuple(layers[key]), now(first)
        )
        found.append(weight)
        aliases |= dict.fromkeys([*its, *(f"{name}.weight".lstrip(".") for name in its), weight.parameter], weight)
    return found, aliases


def _key(layer: nn.Module) -> int:
    """The same for layers that share one weight. One that is computed at each reading is known by its layer."""
    return id(layer._parameters.get("weight", layer))


def _stored(layer: nn.Module) -> str:
    """Where the entries of a computed weight are stored whose zeros are its own; "weight" if that is not known."""
    lists = getattr(layer, "parametrizations", {})
    kinds = [type(each).__name__ for each in lists["weight"]] if "weight" in lists else []
    if kinds in (["_SpectralNorm"], ["_WeightNorm"]):
        return f"parametrizations.weight.original{'1' if kinds == ['_WeightNorm'] else ''}"
    return next((name for name in ("weight_orig", "weight_v") if name in layer._parameters), "weight")


@torch.no_grad()
def now(layer: nn.Module) -> Tensor:
    """A layer's weight; where it is computed, without what computing it in training would change."""
    if "weight_mask" in layer._buffers and "weight_orig" in layer._parameters:
        own: Any = layer
        pruned: Tensor = own.weight_orig * own.weight_mask
        return pruned
    with evaluating(layer) if "weight" not in layer._parameters else nullcontext():
        weight: Tensor = layer.weight  # type: ignore[assignment]
    if isinstance(weight, UninitializedParameter):
        raise InputError(f"{type(layer).__name__} is lazy and has no weight yet; call the model once first")
    return weight


def _parameter(model: nn.Module, name: str, found: list[Weight]) -> Weight:
    """The weight that only a parameter's own name can mean."""
    named = dict(model.named_parameters(remove_duplicate=False))
    tensor = named.get(name)
    if tensor is None or tensor.dim() < 2:
        raise _refusal(model, name, named, found)
    first = next(other for other, parameter in named.items() if parameter is tensor)
    return Weight(first, first, (), tensor)


def _refusal(model: nn.Module, name: str, named: Mapping[str, Tensor], found: list[Weight]) -> InputError:
    """Why a name can not be pruned, by what it is the name of."""
    if name in named:
        return InputError(
            f"{name!r} has {named[name].dim()} dimension(s); weights of 2 or more can be scored, not biases"
        )
    module = dict(model.named_modules(remove_duplicate=False)).get(name)
    if module is None:
        return unknown("layer", name, (weight.name for weight in found))
    inner = [f"{name}.{part}" for part, each in module.named_modules() if part and is_layer(each)]
    own = [f"{name}.{part}" for part, p in module.named_parameters(recurse=False) if p.dim() > 1]
    kind, can = type(module).__name__, ", ".join(map(repr, [*inner, *own]))
    if not can:
        return InputError(f"{name!r} is a {kind}, which has no weight matrix; name layers that have one")
    return InputError(f"{name!r} is a {kind}, not one Linear or Conv layer; name what is in it: {can}")


def uses(weight: Weight) -> Iterator[Layer]:
    """The layers whose calls show what the weight does; they must lay it out alike."""
    for layer in weight.layers:
        first = weight.layers[0]
        if type(layer) is not type(first) or is_turned(layer) != is_turned(first):
            raise InputError(
                f"the weight of layer {weight.name!r} is shared by a {type(layer).__name__}, which reads it in another "
                "layout, so what they see can not be added up; use scores of the weight or of its gradient"
            )
        yield _as_layer(layer)


def _as_layer(module: Any) -> Layer:
    """Conv1D of transformers is no class that we know, but has all we use."""
    layer: Layer = module
    return layer


def norm_scales(model: nn.Module) -> dict[str, nn.Parameter]:
    """The scales of all batch norms, one number for each channel, by the parameters' names."""
    norms = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    found = {f"{n}.weight": m.weight for n, m in model.named_modules() if isinstance(m, norms) and m.affine}
    if not found:
        raise InputError(f"{type(model).__name__} has no batch norm with scales; give a network that has one")
    return found
