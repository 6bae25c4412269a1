"""Duplicate: copies of models that hold things which cannot be copied, such as open files, locks or generators."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from types import ModuleType
from typing import Any, TypeVar

from torch import Tensor, nn

from sapwood.errors import InputError, first_line

T = TypeVar("T")
OF_TORCH = ("_parameters", "_buffers", "_modules")


def duplicate(thing: T, memo: Mapping[int, Any]) -> T:
    """`deepcopy` of a model, or of a tuple with one. What its modules hold that cannot be copied, both hold.

    InputError names the module and the attribute where that does not help.
    """
    try:
        return deepcopy(thing, dict(memo))
    except Exception as error:  # any object may refuse in its own way
        said = first_line(error)
    held = [(f"{name}.{attribute}".lstrip("."), value) for name, attribute, value in _held(thing)]
    still = dict(memo) | _itself(thing)
    stuck = [(name, value) for name, value in held if _is_stuck(value, still)]
    inner = [part for _, value in stuck for part in _inmost(value, still, set())]
    for shared in (inner, [value for _, value in stuck]):
        try:
            return deepcopy(thing, dict(memo) | {id(part): _shared(part) for part in shared})
        except Exception as error:
            said = first_line(error)
    alone = (name for name, module in reversed(_modules(thing)) if _is_stuck(module, _without(still, module)))
    names = ", ".join(repr(name) for name, _ in stuck) or f"module {next(alone, '')!r}"
    raise InputError(f"{names} cannot be copied, and shrinking works on copies: {said}; take it off the model first")


def _held(thing: Any) -> Iterator[tuple[str, str, Any]]:
    """(module, attribute, value) of everything that modules hold beside tensors and modules."""
    for name, module in _modules(thing):
        yield from ((name, key, value) for key, value in vars(module).items() if key not in OF_TORCH)


def _modules(thing: Any) -> list[tuple[str, nn.Module]]:
    parts = thing if isinstance(thing, tuple) else (thing,)
    return [named for part in parts if isinstance(part, nn.Module) for named in part.named_modules()]


def _without(memo: dict[int, Any], module: nn.Module) -> dict[int, Any]:
    return {key: value for key, value in memo.items() if key != id(module)}


def _itself(thing: Any) -> dict[int, Any]:
    """For `deepcopy`: modules and parameters stand for themselves, so that an attribute is copied without them."""
    modules = [module for _, module in _modules(thing)]
    return {id(part): part for module in modules for part in (module, *module.parameters(), *module.buffers())}


def _is_stuck(value: Any, memo: dict[int, Any]) -> bool:
    try:
        deepcopy(value, dict(memo))
    except Exception:
        return True
    return False


def _inmost(value: Any, memo: dict[int, Any], seen: set[int]) -> list[Any]:
    """What in a value is to blame: itself, or parts of it."""
    seen.add(id(value))
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple | set) else ()
    whole = isinstance(value, type | ModuleType) or not hasattr(value, "__dict__")
    inside = [*parts, *(() if whole else vars(value).values())]
    stuck = [part for part in inside if id(part) not in seen and _is_stuck(part, memo)]
    return [found for part in stuck for found in _inmost(part, memo, seen)] or [value]


def _shared(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, Tensor) else value
