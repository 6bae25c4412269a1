"""Calls: the operator at a node of an exported graph, its arguments by name; what is the same in every run is noted."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree

from sapwood.shrinking.rules.call import Call
from sapwood.shrinking.rules.values import Weight
from sapwood.shrinking.tracing.lines import line

KNOWN = "sapwood"  # in what a node's `meta` holds: the operator's name, its line, the shapes it gives, its arguments
TORCHS = ("", "aten", "torchvision")  # libraries whose operators' names mean what rules take them to mean


def call_of(values: Mapping[fx.Node, Any], node: fx.Node) -> Call:
    """The operator at a node, its arguments under the names of its signature."""
    known = node.meta.get(KNOWN)
    if known is None:  # the same in every run
        known = node.meta[KNOWN] = op_of(node), line(node), shapes_of(node.meta.get("val")), *_arguments(node)
    op, where, shapes, fixed, computed = known
    given = {**fixed, **{name: _given(values, part) for name, part in computed.items()}}
    if not isinstance(node.target, torch._ops.OpOverload):
        parts = pytree.tree_leaves(given, is_leaf=lambda part: isinstance(part, Weight))
        return Call(f"torch.{op}", where, None, {"arguments": parts}, shapes)
    return Call(op, where, node.target, given, shapes)


def _arguments(node: fx.Node) -> tuple[dict[str, Any], dict[str, Any]]:
    """All arguments under their names, and those of them that other operators compute."""
    named_ = isinstance(node.target, torch._ops.OpOverload)
    given = named(node, node.args, node.kwargs) if named_ else {"args": node.args, "kwargs": node.kwargs}
    parts = {name: part for name, part in given.items() if isinstance(part, fx.Node | list | tuple | dict | slice)}
    return given, parts


def _given(values: Mapping[fx.Node, Any], part: Any) -> Any:
    return values[part] if isinstance(part, fx.Node) else fx.node.map_arg(part, lambda node: values[node])


def op_of(node: fx.Node) -> str:
    """The operator's name: conv2d, add (also for add_); of one that is not torch's own "library.name"."""
    if KNOWN in node.meta:
        return str(node.meta[KNOWN][0])
    schema = getattr(node.target, "_schema", None)
    plain = "", "", getattr(node.target, "__name__", str(node.target))
    library, _, name = plain if schema is None else schema.name.rpartition("::")
    return name.rstrip("_") if library in TORCHS else f"{library}.{name}"


def named(node: fx.Node, args: Any, kwargs: Any) -> dict[str, Any]:
    """An operator's arguments under the names of its signature, defaults filled in."""
    names, defaults = _signature(node.target)
    return {**defaults, **dict(zip(names, args, strict=False)), **kwargs}


@cache
def _signature(operator: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    """The names of an operator's arguments, and what each is where it is not given."""
    arguments = operator._schema.arguments
    return tuple(argument.name for argument in arguments), {a.name: a.default_value for a in arguments}


def shapes_of(value: Any) -> tuple[torch.Size, ...]:
    every = [value] if isinstance(value, Tensor) else pytree.tree_leaves(value)
    return tuple(_known(part.shape) for part in every if isinstance(part, Tensor))


def _known(shape: torch.Size) -> torch.Size:
    """Sizes that have been found out meanwhile, as that of a count of values in so many bins, as whole numbers."""
    return shape if all(type(size) is int for size in shape) else torch.Size(int(size) for size in shape)
