"""Reads: which numbers in a model's modules its code looks at. To change another one changes nothing."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

Number = tuple[type[nn.Module], str]  # a class of modules, and the name of an attribute


@contextmanager
def seeing_reads(numbers: Iterable[Number]) -> Iterator[set[Number]]:
    """Give, while open, which of the numbers something has read, in any module of the class."""
    read, put = set[Number](), list[tuple[Number, Any]]()
    try:
        for kind, name in dict.fromkeys(numbers):
            before = vars(kind).get(name, _NONE)
            setattr(kind, name, _watched(kind, name, read))
            put.append(((kind, name), before))
        yield read
    finally:
        for (kind, name), before in put:
            if before is _NONE:
                delattr(kind, name)
            else:
                setattr(kind, name, before)


_NONE = object()


def _watched(kind: type[nn.Module], name: str, read: set[Number]) -> property:
    """Before what modules hold themselves, which stays where it is."""

    def get(module: nn.Module) -> Any:
        read.add((kind, name))
        try:
            return vars(module)[name]
        except KeyError:
            raise AttributeError(name) from None

    def set_(module: nn.Module, value: Any) -> None:
        vars(module)[name] = value

    def delete(module: nn.Module) -> None:
        del vars(module)[name]

    return property(get, set_, delete)
