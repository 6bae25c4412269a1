"""Declared: what a method says that it does to its network, by which its laws are chosen."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeVar, get_args

from sapwood.errors import refuse_unless

Kind = Literal["masks", "rebuilds", "solves"]
KINDS: tuple[str, ...] = get_args(Kind)
NOTHING: Mapping[str, str] = MappingProxyType({})

F = TypeVar("F", bound=Callable[..., Any])


class Declared(NamedTuple):
    """What a method says of itself."""

    kinds: tuple[str, ...]
    unmet: Mapping[str, str]  # {what a law claims: why this method does not meet it}
    said: bool = True  # False: nothing was said, so that masks are taken for granted


def declares(*kinds: Kind, unmet: Mapping[str, str] = NOTHING) -> Callable[[F], F]:
    """Decorate a method with what it does to its network; none at all: it trains it.

    "masks": it puts masks on. "rebuilds": it goes on with a network of other shapes. "solves": it sets weights to what
    it has computed. `unmet` lists the laws that it does not meet, each with the reason; `sapwood check` prints it.
    """
    for kind in kinds:
        refuse_unless("kind", kind, KINDS)

    def with_it(method: F) -> F:
        method.declared = Declared(kinds, dict(unmet))  # type: ignore[attr-defined]
        return method

    return with_it


def declared(method: Callable[..., Any]) -> Declared:
    """What was declared of a method, or of the one inside of a `functools.partial`."""
    inner = getattr(method, "func", method)
    found: Declared = getattr(inner, "declared", Declared(("masks",), NOTHING, said=False))
    return found
