"""Widths: which numbers of a Hugging Face config a network's widths come from, and the config that gives a narrow one.

Nothing is known of any class: networks are built on torch's meta device from configs with one number changed, and what
changes in their tensors says what the number is for.
"""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeGuard

import torch
from torch import nn

from sapwood.errors import InputError
from sapwood.export.attributes import numbers
from sapwood.shrinking.tracing.graph import named_tensors

Dim = tuple[str, int]  # a tensor's name and one of its dimensions
Sizes = dict[Dim, int]
Field = tuple[str | int, ...]  # where a number stands: names of configs inside the config, its own, its place in a list
WIDEST = 3  # layers that an error names
IGNORED = ("_token_id", "num_labels", "transformers_version")  # numbers of a config that no width comes from


def sizes_of(model: nn.Module) -> Sizes:
    """{(tensor, dimension): size} of all parameters and buffers."""
    return {(name, at): size for name, tensor in named_tensors(model) for at, size in enumerate(tensor.shape)}


@dataclass(frozen=True)
class Lever:
    """A number of a config, and what another number there does to sizes."""

    field: Field
    moves: Mapping[Dim, tuple[int, int, int, int]]  # {size that changes: (number, size, other number, other size)}

    def value(self, dim: Dim, wanted: int) -> int | None:
        """What the number has to be for a size; None if no whole number gives it."""
        number, size, other, another = self.moves[dim]
        steps, rest = divmod((wanted - size) * (other - number), another - size)
        return number + steps if rest == 0 and number + steps > 0 else None

    def values(self, wanted: Sizes) -> dict[int | None, list[Dim]]:
        """{what the number has to be: where}."""
        found: dict[int | None, list[Dim]] = {}
        for dim in self.moves:
            found.setdefault(self.value(dim, wanted[dim]), []).append(dim)
        return found


class Blueprint:
    """A model's class and a config, from which networks without numbers are built."""

    def __init__(self, model: nn.Module, config: Any) -> None:
        self.kind: Any = type(model)
        self.config = _with_head_widths(self.kind, deepcopy(config))
        self.model = built(self.kind, self.config)
        self.sizes = sizes_of(self.model)

    @cached_property
    def levers(self) -> list[Lever]:
        """The numbers that change sizes and nothing else, such as which tensors there are."""
        tried = (self._lever(field, number) for field, number in _fields(self.config))
        return [lever for lever in tried if lever is not None and lever.moves]

    def _lever(self, field: Field, number: int | None) -> Lever | None:
        for other in (64, 96) if number is None else (2 * number, number // 2):
            try:
                sizes = sizes_of(built(self.kind, changed(self.config, field, other)))
            except Exception:  # numbers that do not go together
                continue
            if sizes.keys() == self.sizes.keys():
                moved = {dim: size for dim, size in self.sizes.items() if sizes[dim] != size}
                if not moved and number is None:  # it may be what None stands for
                    continue
                start = {dim: (number, size) if number else (0, 0) for dim, size in moved.items()}
                return Lever(field, {dim: (*start[dim], other, sizes[dim]) for dim in moved})
        return None


def built(kind: Any, config: Any) -> nn.Module:
    """A network of a class from a config, on the meta device, where it has sizes and no numbers."""
    with torch.device("meta"), torch.random.fork_rng(devices=()):
        model: nn.Module = kind(deepcopy(config))
    return model


def changed(config: Any, field: Field, number: int) -> Any:
    """A copy of the config with another number in one place."""
    config = deepcopy(config)
    *way, name = field
    holder = config
    for step in way[:-1] if isinstance(name, int) else way:
        holder = getattr(holder, str(step))
    if isinstance(name, int):
        listed = getattr(holder, str(way[-1]))
        setattr(holder, str(way[-1]), type(listed)([*listed[:name], number, *listed[name + 1 :]]))
    else:
        setattr(holder, name, number)
    return config


def config_of(model: nn.Module, config: Any) -> Any:
    """The config from which the model's class builds networks of its sizes.

    A number is changed if that makes sizes right and none wrong. Of several, such as heads and their width, the one is
    taken that leaves most of the numbers on modules what they are in the model. InputError: no config gives the sizes.
    """
    plan, wanted = Blueprint(model, config), sizes_of(model)
    _refuse_other_tensors(plan.sizes, wanted)
    levers = {each.field: values for each in plan.levers if len(values := each.values(wanted)) == 1}
    levers = {field: values for field, values in levers.items() if None not in values}
    current, wrong = plan.config, _wrong(plan.sizes, wanted)
    while wrong:
        tried = []
        for field, values in levers.items():
            [(number, _)] = values.items()
            config = changed(current, field, number or 0)
            try:
                network = built(plan.kind, config)
            except Exception:  # numbers that do not go together
                continue
            left = _wrong(sizes_of(network), wanted)
            if left < wrong:
                tried.append((_strange(network, model), len(left), config, left))
        if not tried:
            raise InputError(_why(plan, wanted, wrong))
        _, _, current, wrong = min(tried, key=lambda each: each[:2])
    return current


def _refuse_other_tensors(mine: Sizes, wanted: Sizes) -> None:
    if strange := sorted({name for name, _ in mine.keys() ^ wanted.keys()}):
        raise InputError(
            f"the config gives a network with other tensors: {strange[0]!r} is only in one of the two, as where "
            "a whole branch was removed; prune with uniform=True, or use export.save and export.load"
        )


def _wrong(sizes: Sizes, wanted: Sizes) -> set[Dim]:
    return {dim for dim, size in wanted.items() if sizes.get(dim) != size}


def _strange(network: nn.Module, model: nn.Module) -> int:
    """How many numbers on modules, such as heads and their width, are not those of the model."""
    own = {name: numbers(module) for name, module in model.named_modules()}
    return sum(
        own[name].get(key, value) != value
        for name, module in network.named_modules()
        for key, value in numbers(module).items()
        if name in own
    )


def _why(plan: Blueprint, wanted: Sizes, wrong: set[Dim]) -> str:
    """Which layers differ where the config has one number for all, or for which it has none."""
    kind = type(plan.config).__name__
    for lever in plan.levers:
        values = lever.values(wanted)
        uneven = {number: touched for number, dims in values.items() if (touched := _layers(wrong.intersection(dims)))}
        if len(uneven) > 1 and None not in values:
            needs = ", ".join(f"{layers[0]!r} needs {number}" for number, layers in [*uneven.items()][:WIDEST])
            return (
                f"{kind} has one {'.'.join(map(str, lever.field))} for all of these layers: {needs}; prune with "
                "uniform=True, which leaves every layer the same width, or use export.save and export.load"
            )
    layers = _layers(wrong)
    more = f" and {len(layers) - WIDEST} more" if len(layers) > WIDEST else ""
    return (
        f"{kind} has no number for the widths of {', '.join(map(repr, layers[:WIDEST]))}{more}; prune with "
        "uniform=True and keep=export.not_in_config(model, example), which leaves these layers whole, or use "
        "export.save and export.load"
    )


def _layers(dims: set[Dim]) -> list[str]:
    return list(dict.fromkeys(name.rpartition(".")[0] for name, _ in sorted(dims)))


def _fields(config: Any, way: Field = ()) -> Iterator[tuple[Field, int | None]]:
    """The whole numbers of a config, those in lists and in the configs inside it, and what may be one (None)."""
    for name, value in vars(config).items():
        if name.startswith("_") or name.endswith(IGNORED):
            continue
        if hasattr(value, "to_dict"):
            yield from _fields(value, (*way, name))
        elif value is None or _whole(value):
            yield (*way, name), value
        elif isinstance(value, (list, tuple)) and value and all(map(_whole, value)):
            yield from (((*way, name, at), each) for at, each in enumerate(value))


def _whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _with_head_widths(kind: Any, config: Any) -> Any:
    """The config with the width of a head said, where its class reads one and it stands for hidden size over heads."""
    for way in [(), *((name,) for name, value in vars(config).items() if hasattr(value, "to_dict"))]:
        part = getattr(config, way[0]) if way else config
        width, heads = getattr(part, "hidden_size", None), getattr(part, "num_attention_heads", None)
        if getattr(part, "head_dim", None) is None and _whole(width) and _whole(heads) and width % heads == 0:
            said, other = (changed(config, (*way, "head_dim"), by * width // heads) for by in (1, 2))
            if _reads(kind, config, said, other):
                config = said
    return config


def _reads(kind: Any, config: Any, said: Any, other: Any) -> bool:
    """Whether networks are the same with what is `said`, and other ones with the `other` number."""
    try:
        plain, same, different = (sizes_of(built(kind, each)) for each in (config, said, other))
    except Exception:  # a class that refuses what it does not know
        return False
    return plain == same != different


def sayable(plan: Blueprint, cut: Sequence[set[Dim]]) -> list[bool]:
    """For each set of dimensions that lose units together: whether the config has numbers for them.

    A number counts if it changes only what may lose units: a stream's width changes norms, too.
    """
    whole = set().union(*cut) if cut else set()
    covered = {dim for lever in plan.levers if whole.issuperset(lever.moves) for dim in lever.moves}
    return [each <= covered for each in cut]
