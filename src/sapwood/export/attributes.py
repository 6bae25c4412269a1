"""Attributes: the plain numbers that modules hold beside their tensors, and the changing of them in another network.

They sit on modules, or on objects that hang on modules, such as a `config`. A *place* says where: (module's path,
attribute, attribute of that, ...); an object that hangs on many modules has many places.
"""

from collections.abc import Iterator, Mapping
from copy import copy
from enum import Enum
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from sapwood import schema
from sapwood.errors import InputError

Place = tuple[str, ...]
Change = dict[str, Any]  # {"at": [place, ...] of one thing, "now": {attribute: number}}
DEPTH = 3  # attributes of attributes that are followed from a module
CHANGES = schema.items(schema.record({
    "at": schema.items(schema.items(schema.text, tuple, least=1), least=1),
    "now": schema.mapping(lambda value, where: schema.demand(_number(value), where, value, "a number")),
}))  # fmt: skip
SETTINGS = schema.mapping(
    schema.mapping(
        lambda value, where: schema.demand(_number(value) or type(value) is str, where, value, "a number or a word")
    )
)
SETTLED = frozenset({  # what torch's own modules do to numbers, whatever their sizes are
    "stride", "padding", "dilation", "output_padding", "kernel_size", "padding_mode", "eps", "momentum", "affine",
    "elementwise_affine", "track_running_stats", "num_layers", "bidirectional", "batch_first", "dropout", "p",
    "inplace", "add_zero_attn",
})  # fmt: skip
MACHINERY = frozenset(vars(nn.Module()))  # what every module has: its mode, hooks, tables of tensors and modules


def things(model: nn.Module) -> dict[Place, Any]:
    """Modules, under all of their paths, and the objects that hang on them."""
    found: dict[Place, Any] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        found[(name,)] = module
        found.update(_hanging((name,), module))
    return found


def _hanging(place: Place, thing: Any) -> Iterator[tuple[Place, Any]]:
    for name, value in _own(thing).items():
        if hasattr(value, "__dict__") and not callable(value) and not isinstance(value, (Tensor, ModuleType, Enum)):
            yield (*place, name), value
            if len(place) < DEPTH:
                yield from _hanging((*place, name), value)


def _own(thing: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(thing).items() if name not in MACHINERY}


def numbers(thing: Any) -> dict[str, Any]:
    """Attributes that are None, a number, or tuples and lists of these."""
    return {name: value for name, value in _own(thing).items() if _number(value)}


def _number(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_number, value))
    return value is None or isinstance(value, (bool, int, float))


def settings(model: nn.Module) -> dict[str, dict[str, Any]]:
    """{path: {attribute: number or word}} of torch's own modules: strides, paddings, modes, what they compute with."""
    return {
        name: {key: value for key, value in _own(module).items() if _number(value) or isinstance(value, str)}
        for name, module in model.named_modules(remove_duplicate=False)
        if _of_torch(module)
    }


def _of_torch(thing: Any) -> bool:
    return type(thing).__module__.startswith("torch.")


def classes(model: nn.Module) -> dict[str, str]:
    """{path: name of the class}; of a module with several paths, the others give the first."""
    first: dict[int, str] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        first.setdefault(id(module), name)
    return {
        name: type(module).__name__ if first[id(module)] == name else f"the module {first[id(module)]!r}"
        for name, module in model.named_modules(remove_duplicate=False)
    }


def changes(original: nn.Module, small: nn.Module) -> list[Change]:
    """What must be changed in the original's attributes to have the small network's: each thing once."""
    before, found = things(original), dict[int, Change]()
    for place, thing in things(small).items():
        then = numbers(before[place]) if place in before else {}
        now = {name: value for name, value in numbers(thing).items() if name in then and then[name] != value}
        for name, value in now.items():
            _refuse_another_kind(then[name], value, name, said(place), _of_torch(thing))
        if now:
            found.setdefault(id(thing), {"at": [], "now": {}})["at"].append(place)
            found[id(thing)]["now"] |= now
    return sorted(found.values(), key=lambda change: len(change["at"][0]))  # what hangs on something comes after it


def change_(model: nn.Module, wanted: list[Change]) -> None:
    """Change attributes in place. An object that has more places than a change is copied for those it has."""
    here = things(model)
    for change in wanted:
        places: list[Place] = [tuple(place) for place in change["at"]]
        if missing := [place for place in places if place not in here]:
            raise InputError(f"make's network has no {said(missing[0])}, which shrinking changed")
        thing = here[places[0]]
        if isinstance(thing, nn.Module) and any(here[place] is not thing for place in places):
            raise InputError(f"{', '.join(map(said, places))} are not one module there")
        shared = {place for place, other in here.items() if other is thing}
        if not isinstance(thing, nn.Module) and shared != set(places):
            thing = copy(thing)
            for place in places:
                vars(here[place[:-1]])[place[-1]] = thing
            here = things(model)
        _set_(thing, said(places[0]), change["now"])


def _set_(thing: Any, name: str, now: Mapping[str, Any]) -> None:
    """Past __setattr__, which may do more or, of a frozen object, nothing."""
    for attribute, value in now.items():
        if attribute not in numbers(thing):
            raise InputError(f"make's network has no number {attribute!r} on {name}, which shrinking changed")
        _refuse_another_kind(vars(thing)[attribute], value, attribute, name, _of_torch(thing))
        vars(thing)[attribute] = value


def _refuse_another_kind(before: Any, now: Any, attribute: str, name: str, of_torch: bool) -> None:
    """InputError where a number cannot be what the original's became. Torch's modules have sizes of one type each."""
    if of_torch and attribute in SETTLED:
        raise InputError(f"{attribute} of {name} is {before!r}, which no shrinking changes, and is said to be {now!r}")
    if not (_of_one_type(before, now) if of_torch else schema.alike(before, now)):
        raise InputError(f"{attribute} of {name} is {before!r} in the original, and {now!r} is no such thing")


def _of_one_type(before: Any, now: Any) -> bool:
    if type(before) is not type(now):
        return False
    if isinstance(before, (list, tuple)):
        return len(before) == len(now) and all(map(_of_one_type, before, now))
    return True


def said(place: Place) -> str:
    """A place in words: "'encoder.layer.0.config'"."""
    return repr(".".join(part for part in place if part) or "the network")
