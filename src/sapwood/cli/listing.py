"""The verb `list`: the names in every table, each with the first line of its docstring."""

import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from importlib import import_module
from typing import Any

from sapwood.errors import unknown

Lines = dict[str, str]  # name -> one line about it


def print_lists(kind: str | None) -> None:
    """Print the table called `kind`, or all of them."""
    if kind is not None and kind not in KINDS:
        raise unknown("list", kind, KINDS)
    for each in KINDS if kind is None else (kind,):
        lines = KINDS[each]()
        if kind is None:
            print(f"\n{each}")
        width = max(map(len, lines), default=0)
        for name, about in lines.items():
            print(f"  {name:{width}}  {about}".rstrip())


def criteria() -> Lines:
    """The criteria, by what the file of each says."""
    from sapwood.criteria import CRITERIA

    return _by_file((name, criterion.score) for name, criterion in CRITERIA.items())


def unit_criteria() -> Lines:
    """The criteria of units, by what the file of each says."""
    from sapwood.criteria import UNIT_CRITERIA

    files = {name: f"sapwood.criteria.{name}" for name in UNIT_CRITERIA}
    return {name: _first_line(import_module(path)).partition(": ")[2] for name, path in files.items()}


def statistics() -> Lines:
    """The statistics: what each sums, and the criteria that need it."""
    from sapwood.criteria import CRITERIA
    from sapwood.scoring.statistics import ABOUT, STATISTICS

    users = {name: [user for user, criterion in CRITERIA.items() if name in criterion.needs] for name in STATISTICS}
    return {name: ABOUT[name] + (f" (for {', '.join(by)})" if by else "") for name, by in users.items()}


def methods() -> Lines:
    """The methods, by what the file of each says."""
    from sapwood.methods import METHODS

    return _by_file(METHODS.items())


def tasks() -> Lines:
    """The tasks, by what the file of each says; no data is read."""
    from sapwood.tasks import TASKS

    return _by_file(TASKS.items())


def data() -> Lines:
    """The data sets, by what the file of each says; none is read."""
    from sapwood.data import DATASETS

    return _by_file((name, each.load) for name, each in DATASETS.items())


def studies() -> Lines:
    """The studies that can be found from here, by title."""
    from sapwood.study.study import found

    return {name: study.title for name, study in found().items()}


def _by_function(module: str, table: str) -> Lines:
    """A table of functions, by what each one says."""
    functions: Mapping[str, Any] = getattr(import_module(module), table)
    return {name: _first_line(f.func if isinstance(f, partial) else f) for name, f in functions.items()}


def _by_file(functions: Iterable[tuple[str, Callable[..., Any]]]) -> Lines:
    return {name: _first_line(sys.modules[f.__module__]).removeprefix(f"{name}: ") for name, f in functions}


def _first_line(thing: object) -> str:
    return (thing.__doc__ or "").strip().partition("\n")[0]


KINDS: dict[str, Callable[[], Lines]] = {
    "criteria": criteria,
    "unit_criteria": unit_criteria,
    "statistics": statistics,
    "allocations": partial(_by_function, "sapwood.selection.allocate", "ALLOCATIONS"),
    "schedules": partial(_by_function, "sapwood.selection.schedule", "SCHEDULES"),
    "shares": partial(_by_function, "sapwood.selection.schedule", "SHARES"),
    "stopping": partial(_by_function, "sapwood.training.stopping", "RULES"),
    "methods": methods,
    "tasks": tasks,
    "data": data,
    "studies": studies,
}
