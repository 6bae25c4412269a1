"""Mutations: what may become of a file - bytes that change on the way, and words that were written otherwise.

Words are changed as JSON; some changes can only be made in the text, so they stand in it as a mark until it is written.
"""

import json
from copy import deepcopy
from random import Random
from typing import Any

DEEP, TWICE, NAN, LONG = "@deep@", "@twice@", "@nan@", "@long@"  # marks
TEXTS = {DEEP: "[" * 100_000 + "]" * 100_000, TWICE: '{"a": 1, "a": 2}', NAN: "NaN", LONG: "9" * 5000}
ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 7, 2**31, 2**53, 2**63 - 1, 2**63, 2**64, -(2**70), 10**40, 0.5, -0.0, 1e308, 6.0,
    "", "x", "six", "0", "\ud800", "\0", "../../../etc/passwd", "/dev/zero", "_inductor", "float32", "int64", "bool",
    [], {}, [0], [[]], {"tuple": []}, {"tuple": [1]}, {"__tensor__": "w"}, {"__map__": [[1, 2]]}, {"__tuple__": 3},
    DEEP, TWICE, NAN, LONG,
)  # fmt: skip
LINE = 64  # bytes that are moved or written over, at most


def raw(content: bytes, luck: Random) -> bytes:
    """One to three changes: bits flipped, ends cut off, pieces put in, taken out, moved or written over."""
    spoilt = bytearray(content)
    for _ in range(luck.choice((1, 1, 1, 2, 3))):
        at, length = luck.randrange(len(spoilt) + 1), luck.randrange(1, LINE)
        match luck.choice(("flip", "flip", "cut", "insert", "remove", "splice", "over", "number")):
            case "flip" if at < len(spoilt):
                spoilt[at] ^= 1 << luck.randrange(8)
            case "cut":
                del spoilt[at:]
            case "insert":
                spoilt[at:at] = luck.randbytes(length)
            case "remove":
                del spoilt[at : at + length]
            case "splice":
                begin = luck.randrange(len(spoilt) + 1)
                spoilt[at:at] = spoilt[begin : begin + length]
            case "over":
                spoilt[at : at + length] = bytes([luck.choice((0, 255))]) * length
            case _:
                spoilt[at : at + 4] = luck.choice((0, 1, 2**31, 2**32 - 1)).to_bytes(4, luck.choice(("little", "big")))
    return bytes(spoilt)


def _places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, each in inner for place in _places(each, (*at, key)))]


def _at(value: Any, place: tuple[Any, ...]) -> Any:
    for key in place:
        value = value[key]
    return value


def words(value: Any, luck: Random) -> Any:
    """The value with one to three of its parts changed: another value, a number a bit off, gone, renamed, exchanged."""
    value = deepcopy(value)
    for _ in range(luck.choice((1, 1, 1, 1, 2, 3))):
        place = luck.choice(_places(value))
        if not place:
            value = luck.choice(ODD) if luck.random() < 0.3 else value
            continue
        holder, key = _at(value, place[:-1]), place[-1]
        match luck.choice(("odd", "odd", "near", "gone", "renamed", "exchanged", "added")):
            case "odd":
                holder[key] = deepcopy(luck.choice(ODD))
            case "near":
                holder[key] = _near(holder[key], luck)
            case "gone":
                del holder[key]
            case "renamed" if isinstance(holder, dict):
                holder[luck.choice(("", "x", "0.weight", f"{key} ", *holder))] = holder.pop(key)
            case "exchanged":
                other = luck.choice(_places(value)[1:] or [place])
                holder[key] = deepcopy(_at(value, other))
            case _:
                new = deepcopy(luck.choice(ODD))
                holder.insert(luck.randrange(len(holder) + 1), new) if isinstance(holder, list) else holder.update(
                    x=new
                )
    return value


def _near(value: Any, luck: Random) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return luck.choice((value + 1, value - 1, -value, value * 2, value + 0.5, str(value), [value]))
    if isinstance(value, str):
        return luck.choice((value[:-1], value + "\u0663", value.upper(), value * 2, [value], len(value)))
    return [value] if luck.random() < 0.5 else deepcopy(value)


def text(value: Any, **options: Any) -> str:
    """The JSON, with what only a text can be where the marks stand."""
    written = json.dumps(value, **options)
    for mark, instead in TEXTS.items():
        written = written.replace(json.dumps(mark), instead)
    return written
