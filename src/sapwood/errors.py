"""The one error for bad input, and how a misspelt name gets its suggestion."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TypeVar

T = TypeVar("T")


class InputError(ValueError):
    """Something given to sapwood cannot be used. The message names the thing, its value and what to do."""


class UnknownName(InputError, KeyError):
    """A name that is in no table. It is a KeyError, too, for who looks names up as in any dict."""

    __str__ = Exception.__str__  # KeyError's puts the message in quotes


class Names(dict[str, T]):
    """A table of things by name, of one kind; looking up a name that is not there says the nearest one that is."""

    def __init__(self, kind: str, entries: Mapping[str, T]) -> None:
        super().__init__(entries)
        self.kind = kind

    def __missing__(self, name: object) -> T:
        raise unknown(self.kind, name, self)


def unknown(kind: str, name: object, known: Iterable[str]) -> UnknownName:
    """The error for a name that is in no table: says the nearest known name, or lists all of them.

    Of a weight that its layer computes (masked by torch, parametrised, weight norm) it says what from.
    """
    names = sorted(known)
    path, dot, leaf = str(name).rpartition(".")
    stored = [
        n for n in names if n in {f"{name}_orig", f"{name}_v"} or n.startswith(f"{path}{dot}parametrizations.{leaf}.")
    ]
    near = get_close_matches(str(name), names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names) or 'none'}"
    if stored:
        hint = f"it is computed, from {', '.join(map(repr, stored))}; name what is stored"
    return UnknownName(f"unknown {kind} {name!r}; {hint}")


def picked(kind: str, name: str, table: Mapping[str, T]) -> T:
    """The entry of a table called `name`."""
    if name not in table:
        raise unknown(kind, name, table)
    return table[name]


def refuse_unless(option: str, value: object, choices: Iterable[str]) -> None:
    """Raise unless `value` is one of the choices of this option."""
    known = tuple(choices)
    if value not in known:
        raise unknown(option, value, known)


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    said = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return f"KeyError: {said}" if isinstance(error, KeyError) else said  # which says no more than the key
