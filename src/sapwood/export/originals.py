"""Originals: what a file says of each tensor of an original network, and whether a network is that original."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from sapwood.ancestry import is_smaller
from sapwood.errors import InputError
from sapwood.export.attributes import classes, settings
from sapwood.shrinking.tracing.graph import named_tensors


@dataclass(frozen=True)
class Held:
    """What a file says of a parameter or buffer beside its values."""

    kind: Literal["parameter", "buffer"]
    original: tuple[int, ...]  # the shape it has in the original network
    shape: tuple[int, ...]
    stride: tuple[int, ...] | None  # None: in the order of its indices; else as it lay in memory, channels last say
    requires_grad: bool
    same_as: str | None  # another name of the very same tensor


def kind_of(tensor: Tensor) -> Literal["parameter", "buffer"]:
    return "parameter" if isinstance(tensor, nn.Parameter) else "buffer"


def refuse_smaller(of: nn.Module, where: str = "of= is") -> None:
    """InputError where `of` is no original: a file that says so could be loaded by nobody's code."""
    if is_smaller(of):
        raise InputError(
            f"{where} a {type(of).__name__} that was made smaller itself, and code that loads the file would have to "
            "build one of that size; give the first network, which your code builds, or a new one from that code"
        )


def refuse_other_modules(small: Mapping[str, str], original: Mapping[str, str]) -> None:
    for name in [*original, *small]:
        if small.get(name) != original.get(name):
            raise InputError(
                f"module {name!r} is {small.get(name, 'not there')} and was {original.get(name, 'not there')} in the "
                "original, which could therefore not be made into this network again; save its state_dict, or export "
                "it with to_onnx or to_program"
            )


def refuse_other_network(
    model: nn.Module, held: Mapping[str, Held], known: Mapping[str, str], numbers: Mapping[str, Mapping[str, Any]]
) -> None:
    if not isinstance(model, nn.Module):
        raise InputError(f"it gives {type(model).__name__}, no module")
    tensors, found, own = dict(named_tensors(model)), classes(model), settings(model)
    for name in [*held, *tensors]:
        if name not in tensors or name not in held:
            raise InputError(f"{name!r} is only in the {'file' if name in held else 'network'}")
        _refuse_other_tensor(name, tensors[name], held[name])
    for name in [*known, *found]:
        if known.get(name) != found.get(name):
            raise InputError(f"{name!r} is {found.get(name, 'not there')}, not {known.get(name, 'there')}")
    for name, values in numbers.items():
        for attribute, value in values.items():
            if (mine := own.get(name, {}).get(attribute, value)) != value:
                raise InputError(f"{attribute} of {name!r} is {mine!r}, not {value!r}")


def _refuse_other_tensor(name: str, mine: Tensor, held: Held) -> None:
    if is_lazy(mine) or mine.is_meta:
        raise InputError(f"{name!r} has no numbers yet, as on torch's meta device")
    if kind_of(mine) != held.kind or tuple(mine.shape) != held.original:
        what = f"{name!r} is a {kind_of(mine)} of shape {tuple(mine.shape)}"
        raise InputError(f"{what}, not a {held.kind} of shape {held.original}")
    if len(held.shape) != len(held.original):
        raise InputError(f"{name!r} has {len(held.original)} dimensions, and is said to have the shape {held.shape}")
    if held.kind == "buffer" and held.requires_grad and not mine.requires_grad:
        raise InputError(f"{name!r} is a buffer without gradients, and is said to have them")
