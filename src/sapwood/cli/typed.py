"""Typed: values taken from what was typed, and what no verb takes put in one line that names the nearest thing."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from enum import StrEnum
from typing import Any

from sapwood.errors import InputError, unknown

SHAPE = re.compile(
    r"unexpected extra arguments?.*\((\S+=[\d,]+(?::int)?|\d+(?:,\d+)+(?::int)?)\)?"
)  # an input left over


def choice(option: str, text: str, choices: type[StrEnum]) -> str:
    """The text, if it is one of the choices of this option."""
    known = [each.value for each in choices]
    if text not in known:
        near = get_close_matches(text, known, n=1)
        meant = f"; did you mean {near[0]!r}?" if near else ""
        raise InputError(f"{option} is {text!r}; give {', '.join(known[:-1])} or {known[-1]}{meant}")
    return text


def whole(option: str, text: str | None, *, least: int = 1, most: int | None = None, why: str = "") -> int | None:
    """The whole number that was typed, if it is in its range; None where nothing was typed."""
    if text is None:
        return None
    try:
        found = int(text)
    except ValueError:
        found = least - 1
    if found < least or (most is not None and found > most):
        wanted = f"{least} or more" if most is None else f"from {least} to {most}"
        raise InputError(f"{option} is {text!r}; give a whole number, {wanted}{why}")
    return found


def number(option: str, text: str | None) -> float | None:
    """The number that was typed; None where nothing was typed."""
    try:
        return None if text is None else float(text)
    except ValueError as error:
        raise InputError(f"{option} is {text!r}; give a number, for example 0.5") from error


def verb(words: Iterable[str], known: Iterable[str]) -> None:
    """Raise unless the first word that is no option is a verb."""
    first = next((word for word in words if not word.startswith("-")), None)
    if first is not None and first not in known:
        raise unknown("command", first, known)


def in_words(error: Any) -> str:
    """What was typed wrongly, from typer's error, whose classes differ between its versions."""
    command = getattr(getattr(error, "ctx", None), "command", None)
    path = getattr(getattr(error, "ctx", None), "command_path", "sapwood")
    kind = type(error).__name__
    if kind == "NoSuchOption":
        known = [name for each in getattr(command, "params", ()) for name in each.opts if name.startswith("--")]
        return str(unknown(f"option of {path}:", error.option_name, [*known, "--help"]))
    if kind == "MissingParameter" and error.param is not None:
        name = error.param.opts[0] if error.param.opts[0].startswith("-") else error.param.metavar
        return f"{path} needs {name}: {(getattr(error.param, 'help', None) or '').rstrip('.')}; see {path} --help"
    if kind == "BadOptionUsage":
        return f"{error.option_name} needs a value after it; see {path} --help"
    said = error.format_message().splitlines()[0].rstrip(".")
    if found := SHAPE.search(said):
        return f"{path} takes {found[1]} no more; write --example once for each input: --example {found[1]}"
    return f"{path}: {said[:1].lower()}{said[1:]}; see {path} --help"
