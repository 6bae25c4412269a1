"""Entry: what a table says of a method or a task, in one place: what makes it, its version, and what goes with them."""

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from sapwood.errors import InputError, unknown
from sapwood.training.goal import Goal

V = TypeVar("V")


@dataclass(frozen=True)
class Entry:
    """One line of a table. Its name there is that of the function `make`."""

    make: Callable[..., Any] | None  # the method, or what makes the task; None until its column sets it
    version: int = 1  # raised when a default, a recipe or a meaning changes, so that old results are not taken for new
    before: int | None = None  # a version whose results stay in use, marked as such: see `study.earlier`
    data: str | None = None  # the entry of `data.DATASETS` that a task reads: what to fetch before its trials start
    weights_only: bool | None = None  # True: its option `criterion` takes none that looks at samples
    goal: Goal | None = None  # what a task is judged by, where that is not accuracy


NOTHING = Entry(None)


def table(*entries: Entry) -> dict[str, Entry]:
    """The entries by name; InputError if two have one name."""
    found: dict[str, Entry] = {}
    for entry in entries:
        name = getattr(entry.make, "__name__", "")
        if name in found:
            raise InputError(f"two entries of a table are called {name!r}; rename one of the functions")
        found[name] = entry
    return found


class Column(MutableMapping[str, V]):
    """One field of a table's entries as a dict, {name: value}, without the entries that have None there.

    Setting a value changes the table: `METHODS["mine"] = mine` adds an entry of version 1. Deleting a function deletes
    its entry; deleting another value puts back what an entry has by default.
    """

    def __init__(self, entries: dict[str, Entry], field: str, kind: str = "name") -> None:
        self._entries, self._field, self._kind = entries, field, kind  # what errors call an entry

    def __getitem__(self, name: str) -> V:
        value: V | None = getattr(self._entries.get(name), self._field, None)
        if value is None:
            raise unknown(self._kind, name, self)
        return value

    def __setitem__(self, name: str, value: V) -> None:
        self._put(name, value)

    def __delitem__(self, name: str) -> None:
        _ = self[name]
        if self._field == "make":
            del self._entries[name]
        else:
            self._put(name, getattr(NOTHING, self._field))

    def _put(self, name: str, value: Any) -> None:
        self._entries[name] = replace(self._entries.get(name, NOTHING), **{self._field: value})

    def __iter__(self) -> Iterator[str]:
        return (name for name, entry in self._entries.items() if getattr(entry, self._field) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __or__(self, other: Mapping[str, V]) -> dict[str, V]:
        return {**self, **other}

    def __ror__(self, other: Mapping[str, V]) -> dict[str, V]:
        return {**other, **self}

    def __repr__(self) -> str:
        return repr(dict(self))
