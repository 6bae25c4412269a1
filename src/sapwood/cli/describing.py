"""The verb `list` with a name: one thing's options, what they mean, and what its file says about it."""

import inspect
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

from sapwood.cli.listing import KINDS
from sapwood.errors import unknown


def print_one(kind: str, name: str) -> None:
    """Print what there is to know of the thing called `name` in the table called `kind`."""
    if kind not in KINDS:
        raise unknown("list", kind, KINDS)
    lines = KINDS[kind]()
    if name not in lines:
        raise unknown(f"name in list {kind}:", name, lines)
    print(ABOUT[kind](name) if kind in ABOUT else f"{name}: {lines[name]}")


def method(name: str) -> str:
    """A method: how it is called, with its options and their defaults, what they mean, equation, paper, differences."""
    from sapwood.methods import METHODS

    return "\n\n".join([called(name, METHODS[name]), *said(METHODS[name])])


def called(name: str, function: Callable[..., Any]) -> str:
    """How a method is called: an option a line, with its type and default."""
    every = inspect.signature(function, eval_str=True).parameters.values()
    options = [f"    {each}," for each in every if each.kind is each.KEYWORD_ONLY]
    return "\n".join([f"{name}(", "    run,", "    *,", *options, ")"]) if options else f"{name}(run)"


def said(function: Callable[..., Any]) -> list[str]:
    """What a function's docstring says, then that of its file: equation, paper, what differs."""
    return [inspect.getdoc(function) or "", inspect.getdoc(sys.modules[function.__module__]) or ""]


def _by_file(room: str) -> Callable[[str], str]:
    return lambda name: inspect.getdoc(import_module(f"sapwood.{room}.{name}")) or ""


def _by_function(module: str, table: str) -> Callable[[str], str]:
    def about(name: str) -> str:
        function = getattr(import_module(module), table)[name]
        return f"{name}: {inspect.getdoc(getattr(function, 'func', function)) or ''}"

    return about


ABOUT: dict[str, Callable[[str], str]] = {
    "methods": method,
    "criteria": _by_file("criteria"),
    "unit_criteria": _by_file("criteria"),
    "tasks": _by_file("tasks"),
    "data": _by_file("data"),
    "allocations": _by_function("sapwood.selection.allocate", "ALLOCATIONS"),
    "schedules": _by_function("sapwood.selection.schedule", "SCHEDULES"),
    "shares": _by_function("sapwood.selection.schedule", "SHARES"),
    "stopping": _by_function("sapwood.training.stopping", "RULES"),
}
