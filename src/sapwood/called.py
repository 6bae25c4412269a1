"""Called: a public function looks at what it was called with before it begins, by its own annotations."""

import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from functools import cache, wraps
from numbers import Number
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

from sapwood.errors import InputError, unknown

P = ParamSpec("P")
R = TypeVar("R")
EXAMPLE = "a batch as forward takes it, for example images[:1]"
UNSEEN = {"example": EXAMPLE}  # any tree of tensors may be one; whoever runs the model on it says what is wrong with it
NAMES = "a list of names"
LONG = 60  # characters of a value that an error shows
GIVE = {  # what an error asks for, by the name of a type; of others the name is all there is to say
    "Module": "a torch.nn.Module",
    "Optimizer": "the torch.optim.Optimizer that trains the model",
    "Tensor": "a tensor",
    "Task": "a Task, such as TASKS['mlp_digits']()",
    "Run": "a Run, which start(task) gives",
    "Criterion": "a Criterion, such as CRITERIA['magnitude']",
    "Statistic": "a Statistic, such as STATISTICS['active']",
    "int": "a whole number",
    "float": "a number",
    "str": "a name in quotes",
    "Path": "a path",
    "Callable": "a function",
    "Mapping": "a dict",
    "Site": "the sites that sites(model, example) finds",
}


def _number(value: Any) -> bool:
    """A tensor or an array of one number is one, too; that 2.5 is no whole number is said in other words."""
    return isinstance(value, Number) or hasattr(value, "__float__") or hasattr(value, "__index__")


LIKE: dict[str, Callable[[Any], bool]] = {  # what will do for a type, by the type's name
    **dict.fromkeys(("int", "float"), _number),
    **dict.fromkeys(("Mapping", "MutableMapping", "dict"), lambda value: isinstance(value, Mapping)),
    "Callable": callable,
    "Optimizer": lambda value: hasattr(value, "param_groups") or bool(getattr(value, "__dict__", None)),  # or wraps one
    "device": lambda value: hasattr(value, "type") or isinstance(value, int),
    "Path": lambda value: hasattr(value, "__fspath__"),
}


class WrongCall(InputError, TypeError):
    """An argument that is missing, unknown or of another type. It is a TypeError, too, as of any Python function."""


def checked(**advice: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator: a call that does not fit the signature and its annotations is one `WrongCall`, before anything runs.

    advice: what to give for an argument, where its type does not say it; and what to do instead of an argument that
    there is not, but that people try.
    """

    def around(function: Callable[P, R]) -> Callable[P, R]:
        signature, types = inspect.signature(function), dict[str, Any]()

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            if not types:
                types.update({"": None} | get_type_hints(function))
            try:
                given = signature.bind(*args, **kwargs).arguments
            except TypeError as error:
                raise WrongCall("; ".join(_refusals(function, args, kwargs, types, advice)) or str(error)) from None
            for said in _misfits(signature, given, types, advice):
                raise WrongCall(said)
            return function(*args, **kwargs)

        return call

    return around


def fields_checked(value: object, **advice: str) -> None:
    """For a dataclass's `__post_init__`: a field of another type than its annotation is a `WrongCall`."""
    kind: Any = type(value)
    for said in _misfits(inspect.signature(kind), vars(value), _hints(kind), advice):
        raise WrongCall(said)


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _refusals(
    function: Callable[..., Any], args: Any, kwargs: Mapping[str, Any], types: Mapping[str, Any], advice: Any
) -> Iterator[str]:
    """What is wrong with a call that cannot be bound: arguments unknown, too many, of another type, missing."""
    signature, name = inspect.signature(function), function.__name__
    every = signature.parameters
    for strange in kwargs.keys() - every.keys():
        hint = f"{name} has no argument {strange!r}; {advice[strange]}" if strange in advice else ""
        yield hint or str(unknown(f"argument of {name}:", strange, every))
        return
    places = [n for n, p in every.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    if len(args) > len(places):
        yield f"{name} takes {', '.join(places)} without a name, and {len(args)} values came; write name=value for more"
        return
    yield from _misfits(signature, {**dict(zip(places, args, strict=False)), **kwargs}, types, advice)
    for missing in [n for n, p in every.items() if p.default is p.empty and n not in (*places[: len(args)], *kwargs)]:
        if every[missing].kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
            equals = "=" * (every[missing].kind is inspect.Parameter.KEYWORD_ONLY)
            yield f"{name} needs {missing}{equals}: {(UNSEEN | advice).get(missing) or _wanted(types.get(missing))}"


def _misfits(signature: inspect.Signature, given: Mapping[str, Any], types: Any, advice: Any) -> Iterator[str]:
    """What is to be said of each argument of another type than its annotation."""
    for name, value in given.items():
        several = signature.parameters[name].kind is inspect.Parameter.VAR_POSITIONAL
        for each in value if several else (value,):
            if name not in UNSEEN and name in types and not _fits(each, types[name]):
                give = advice.get(name) or _wanted(types[name], each)
                alone = isinstance(each, str) and give == NAMES
                yield f"{name} is {_shown(each)}; give {give}{f', as in {name}=[{each!r}]' * alone}"


def _fits(value: Any, wanted: Any) -> bool:
    """Whether a value may be meant: what looks like the type will do, and nothing is asked of what a dict holds."""
    kind, inner = get_origin(wanted) or wanted, get_args(wanted)
    if kind in (Union, UnionType):
        return any(_fits(value, each) for each in inner)
    if not isinstance(kind, type) or kind in (Any, object, bool):
        return True
    if kind.__name__ in LIKE:
        return LIKE[kind.__name__](value)
    if inner and kind.__module__ in ("collections.abc", "builtins"):
        return _are(value, inner[0] if isinstance(inner[0], type) and inner[0] is not Any else object)
    return isinstance(value, kind)


def _are(value: Any, each: type) -> bool:
    """Whether a value may be several of a type; one name is not several letters, and a tensor is no list of sites."""
    iterable = hasattr(value, "__iter__") or hasattr(value, "__getitem__")  # a data set may have the second only
    if not iterable or (each is str and isinstance(value, str)):
        return False
    if isinstance(value, list | tuple):
        return all(isinstance(one, each) for one in value)
    return each is object or each.__name__ == "Tensor" or not hasattr(value, "dtype")


def _shown(value: Any) -> str:
    """A value in an error: itself where that is short, or what kind of thing it is."""
    if value is None or isinstance(value, str | int | float | os.PathLike):
        said = repr(value)
        return said if len(said) <= LONG else f"{said[:LONG]}..."
    name = type(value).__name__
    return f"the class {value.__name__}" if isinstance(value, type) else f"a{'n' * (name[0] in 'AEIOaeio')} {name}"


def _wanted(wanted: Any, value: Any = None) -> str:
    """What to give for a type, in words."""
    kind, inner = get_origin(wanted) or wanted, get_args(wanted)
    if kind in (Union, UnionType):
        words = [
            _wanted(each, value) for each in inner if each is not NoneType and (each is not str or Path not in inner)
        ]
        return " or ".join(dict.fromkeys(words))
    name = getattr(kind, "__name__", str(kind))
    if isinstance(value, type) and isinstance(kind, type) and issubclass(value, kind):
        return f"one of it, {value.__name__}(...)"
    if name in ("Iterable", "Sequence", "Collection", "tuple") and inner:
        of = {"Site": GIVE["Site"], "str": NAMES}
        return of.get(getattr(inner[0], "__name__", ""), "a list, or what gives one after another")
    return GIVE.get({"dict": "Mapping", "MutableMapping": "Mapping"}.get(name, name), f"a {name}")
