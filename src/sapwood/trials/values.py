"""Values: what an option of a method or a recipe may be, by its annotation - given in Python, or typed as text."""

import math
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from sapwood.errors import InputError

Value = bool | int | float | str | tuple[float, ...] | None  # in files and identities a tuple is a list


def parsed(whose: str, name: str, text: str, annotation: Any) -> Value:
    """A value of this annotation from what was typed, as `trial.parse_option` reads it."""
    for kind in (bool, NoneType, int, float, tuple, str):
        if any(_kind(each) is kind for each in _alternatives(annotation)):
            try:
                return checked(whose, name, _READ[kind](text), annotation)
            except (ValueError, KeyError) as error:
                if isinstance(error, InputError):
                    raise
    raise _wrong_type(whose, name, text, annotation)


_READ: dict[Any, Any] = {
    bool: lambda text: {"true": True, "false": False}[text.strip().lower()],
    NoneType: lambda text: {"none": None}[text.strip().lower()],
    int: int,
    float: float,
    tuple: lambda text: tuple(map(_number, text.replace(",", " ").split())),
    str: str,
}


def _number(word: str) -> int | float:
    try:
        return int(word)
    except ValueError:
        return float(word)


def checked(whose: str, name: str, value: Value, annotation: Any) -> Value:
    """The value, if it is what the annotation says or nearly so: a whole number for a float, a list for a tuple."""
    numbers = value if isinstance(value, (tuple, list)) else (value,)
    if any(isinstance(each, float) and not math.isfinite(each) for each in numbers):
        raise InputError(f"option {name!r} of {whose} is {value}; give {_FINITE[numbers is value]}")
    for alternative in _alternatives(annotation):
        if _fits(value, alternative):
            return value
    for alternative in _alternatives(annotation):
        if (near := _nearly(value, alternative)) is not None:
            return near
    raise _wrong_type(whose, name, value, annotation)


_FINITE = ("a finite number", "finite numbers")


def _nearly(value: Any, annotation: Any) -> Value:
    """The value where it is of another type by its spelling only: a whole number for a float, a list for a tuple."""
    if annotation is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if _kind(annotation) is tuple and isinstance(value, (tuple, list)):
        of = get_args(annotation)[0]
        near: tuple[Any, ...] = tuple(each if _fits(each, of) else _nearly(each, of) for each in value)
        return None if None in near else near
    return None


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    """The members of a union; a literal's allowed values count as a member together."""
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def _kind(annotation: Any) -> Any:
    if get_origin(annotation) is Literal:
        return type(get_args(annotation)[0])
    return tuple if get_origin(annotation) is tuple and get_args(annotation)[1:] == (...,) else annotation


def _fits(value: Value, annotation: Any) -> bool:
    if get_origin(annotation) is Literal:
        return value in get_args(annotation)
    if _kind(annotation) is tuple:
        return type(value) is tuple and all(_fits(each, get_args(annotation)[0]) for each in value)
    return type(value) is (NoneType if annotation is None else annotation)


class WrongType(InputError):
    """A value that no option of this type can have."""


def _wrong_type(whose: str, name: str, value: Value, annotation: Any) -> WrongType:
    wanted = annotation.__name__ if isinstance(annotation, type) else str(annotation).removeprefix("typing.")
    return WrongType(f"option {name!r} of {whose} is {value!r}; it must be {wanted}")
