"""Schema: what the words in a file must be, asked before they are used; and JSON without surprises.

A check is a function (value, where): it raises `Unexpected`, which says where, what is there and what should be. A
reader puts its checks together in one table, and so says in one place what its format is.
"""

import json
import math
import re
import reprlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Check = Callable[[Any, str], None]

DEPTH = 200  # lists in lists, and the like: what reads them calls itself
MOST = 2**63 - 1
WHOLE = re.compile(r"[0-9]{1,18}").fullmatch
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]{1,3})?").fullmatch
LINE = 300  # characters of a file that an error shows, at most
NOTHING: Mapping[str, Check] = {}


class Unexpected(ValueError):
    """What a file says is not what its format allows."""


def parse(text: str | bytes, *, finite: bool = True) -> Any:
    """The value of a JSON text; `Unexpected` if it is none, says a key twice, nests deep or, if `finite`, has NaN."""
    try:
        words = text.decode() if isinstance(text, bytes) else text
        value = json.loads(words, object_pairs_hook=_once, parse_constant=_no_number if finite else None)
    except RecursionError:
        raise Unexpected("it is nested too deep") from None
    except ValueError as error:
        raise Unexpected(f"it is no JSON: {error}" if not isinstance(error, Unexpected) else str(error)) from None
    if "\\u" in words or words.count("[") + words.count("{") > DEPTH or not words.isascii():
        sound(value)
    return value


def sound(value: Any) -> None:
    """Refuse what is nested too deep to be read, and words that are no text: halves of characters."""
    layer, deep = [value], 0
    while layer:
        if deep > DEPTH:
            raise Unexpected(f"it is nested more than {DEPTH} deep")
        try:
            "".join(word for each in layer for word in _words(each)).encode()
        except UnicodeEncodeError:
            raise Unexpected("a word in it is no text: it has half a character") from None
        layer, deep = [part for each in layer for part in _parts(each)], deep + 1


def _words(value: Any) -> Iterator[str]:
    yield from (word for word in ([value] if isinstance(value, str) else value if isinstance(value, dict) else ())
                if isinstance(word, str))  # fmt: skip


def _parts(value: Any) -> Iterator[Any]:
    yield from value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(key for at, (key, _) in enumerate(pairs) if key in dict(pairs[:at]))
        raise Unexpected(f"it says {_shown(twice)} twice")
    return found


def _no_number(word: str) -> None:
    raise Unexpected(f"it holds {word}, which is no number")


def demand(fits: bool, where: str, value: Any, expected: str) -> None:
    """Raise `Unexpected` unless it fits."""
    if not fits:
        raise Unexpected(f"{where} is {_shown(value)}, not {expected}")


def _shown(value: Any) -> str:
    return reprlib.repr(value).encode("ascii", "backslashreplace").decode()


def read_whole(text: str) -> int:
    """A number of 0 or more as it is written: Python's own reading takes other digits, and spaces and underscores."""
    if not WHOLE(text):
        raise Unexpected(f"{_shown(text)} is no whole number of 0 or more")
    return int(text)


def read_number(text: str) -> float:
    """A finite number as it is written."""
    if not NUMBER(text) or not math.isfinite(value := float(text)):
        raise Unexpected(f"{_shown(text)} is no finite number")
    return value


def brief(error: object) -> str:
    """What an error says, in one line that can be read: words from a file may be long, and hold whatever they like."""
    said = " ".join(str(error).split()).encode("ascii", "backslashreplace").decode()
    return said if len(said) <= LINE else f"{said[:LINE]}..."


def text(value: Any, where: str) -> None:
    """A word."""
    demand(isinstance(value, str), where, value, "a word")


def flag(value: Any, where: str) -> None:
    """True or False."""
    demand(isinstance(value, bool), where, value, "true or false")


def number(value: Any, where: str) -> None:
    """A finite number."""
    fits = (type(value) is float and math.isfinite(value)) or (type(value) is int and abs(value) <= MOST)
    demand(fits, where, value, "a finite number")


def whole(low: int = 0, high: int = MOST) -> Check:
    """A whole number in low..high."""

    def check(value: Any, where: str) -> None:
        demand(type(value) is int and low <= value <= high, where, value, f"a whole number in {low}..{high}")

    return check


def one_of(*choices: str) -> Check:
    """One of these words."""

    def check(value: Any, where: str) -> None:
        demand(isinstance(value, str) and value in choices, where, value, f"one of {', '.join(choices)}")

    return check


def optional(inner: Check) -> Check:
    """None, or what fits `inner`."""

    def check(value: Any, where: str) -> None:
        if value is not None:
            inner(value, where)

    return check


def plain(value: Any, where: str) -> None:
    """None, a word, true, false or a finite number."""
    if value is not None and not isinstance(value, (str, bool)):
        number(value, where)


def items(inner: Check, kind: type[list[Any]] | type[tuple[Any, ...]] = list, least: int = 0) -> Check:
    """A list, or a tuple, of what fits `inner`."""

    def check(value: Any, where: str) -> None:
        demand(type(value) is kind and len(value) >= least, where, value, f"a {kind.__name__} of at least {least}")
        for at, each in enumerate(value):
            inner(each, f"{where}[{at}]")

    return check


def option(value: Any, where: str) -> None:
    """None, a word, true, false, a finite number or a list of finite numbers."""
    (items(number) if isinstance(value, list) else plain)(value, where)


def mapping(inner: Check, key: Check = text) -> Check:
    """A dict of anything to what fits `inner`."""

    def check(value: Any, where: str) -> None:
        demand(isinstance(value, dict), where, value, "a dict")
        for name, each in value.items():
            key(name, f"a key of {where}")
            inner(each, f"{where}[{_shown(name)}]")

    return check


def record(required: Mapping[str, Check], more: Mapping[str, Check] = NOTHING, rest: Check | None = None) -> Check:
    """A dict with all of these keys, perhaps some `more`, and others only if a `rest` says what these may be."""

    def check(value: Any, where: str) -> None:
        demand(isinstance(value, dict), where, value, "a dict")
        for name in required:
            if name not in value:
                raise Unexpected(f"{where} has no {name!r}")
        for name, each in value.items():
            inner = required.get(name) or more.get(name) or rest
            if inner is None:
                raise Unexpected(f"{where} has {_shown(name)}, which does not belong there")
            inner(each, name if where == "it" else f"{where}[{_shown(name)}]")

    return check


def alike(before: Any, now: Any) -> bool:
    """Whether a plain value may stand where another did: of its kind, or None."""
    if before is None or now is None:
        return True
    if isinstance(before, (list, tuple)):
        return type(before) is type(now)
    return _kind(before) is _kind(now)


def _kind(value: Any) -> type:
    return float if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value)
