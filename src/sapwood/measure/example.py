"""Example: what a model is called with, in the forms in which people have it, and calling a model with it."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from typing import Any

import torch.export
from torch import Tensor, nn
from torch._subclasses import FakeTensor
from torch.utils import _pytree as pytree

from sapwood.errors import InputError

MANY = 6  # names of arguments that an error lists
Example = Tensor | tuple[Any, ...] | Mapping[str, Any]  # one input, several, or several by name


class Keywords(dict[str, Any]):
    """Inputs by name. They are the model's keyword arguments, or one input where its forward takes a mapping."""


pytree.register_pytree_node(
    Keywords,
    lambda given: (list(given.values()), list(given)),
    lambda values, names: Keywords(zip(names, values, strict=True)),
)


def as_tuple(example: Example) -> tuple[Any, ...]:
    """The inputs as a tuple; those given by name are its only element, as `Keywords`. For `call` and `arguments`.

    A tensor of a subclass counts as the ordinary tensor that it is.
    """
    keywords = isinstance(example, Mapping)
    given = tuple(example) if isinstance(example, tuple) else (Keywords(example) if keywords else example,)
    plain: tuple[Any, ...] = pytree.tree_map_only(Tensor, _plain, given)
    return plain


def learned(tree: Any) -> bool:
    """Register the dataclasses in a tree of tensors, so that torch looks into them; whether there was a new one."""
    new = {type(leaf) for leaf in pytree.tree_leaves(tree) if is_dataclass(leaf) and not isinstance(leaf, type)}
    for each in new:
        torch.export.register_dataclass(each)
    return bool(new) and (learned(tree) or True)


def call(model: Callable[..., Any], inputs: tuple[Any, ...]) -> Any:
    """The model's answer to what `as_tuple` gives."""
    args, kwargs = arguments(model, inputs)
    return model(*args, **kwargs)


def arguments(model: Callable[..., Any], inputs: tuple[Any, ...]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The positional and the keyword arguments of a call. A mapping is one argument if its names are no parameters."""
    if not (len(inputs) == 1 and isinstance(inputs[0], Keywords)):
        return inputs, {}
    given = dict(inputs[0])
    takes = _signature(model)
    if all(isinstance(name, str) for name in given) and (takes is None or _binds(takes, **given)):
        return (), given
    if takes is None or _binds(takes, given):
        return (given,), {}
    raise InputError(
        f"{_named(model)} takes the arguments {takes} and the example gives {', '.join(map(repr, given)) or 'none'} "
        "by keyword; give each argument without a default under its name"
    )


def takes(model: Callable[..., Any]) -> str:
    """What forward takes, for an error about an example: "forward takes (image, meta)"."""
    found = _signature(model)
    names = [] if found is None else list(found.parameters)
    return f"forward takes ({', '.join(names[:MANY])}{', ...' * (len(names) > MANY)})"


def _signature(model: Callable[..., Any]) -> inspect.Signature | None:
    """What may be passed; of a wrapper for several devices what the model inside takes; None: nobody knows."""
    while isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        model = model.module
    try:
        return inspect.signature(model.forward if isinstance(model, nn.Module) else model)
    except (TypeError, ValueError):  # written in C
        return None


def _binds(takes: inspect.Signature, /, *args: Any, **kwargs: Any) -> bool:
    try:
        takes.bind(*args, **kwargs)
    except TypeError:
        return False
    return True


def _named(model: Callable[..., Any]) -> str:
    return type(model).__name__ if isinstance(model, nn.Module) else getattr(model, "__name__", repr(model))


def _plain(x: Tensor) -> Tensor:
    if type(x) is Tensor or isinstance(x, FakeTensor):
        return x.detach()
    if type(x).__torch_dispatch__ is not Tensor.__torch_dispatch__:
        raise InputError(f"the example holds a {type(x).__name__}, a subclass of Tensor that is no tensor of numbers "
                         "itself; give an ordinary tensor of its shape")  # fmt: skip
    return x.detach().as_subclass(Tensor)
