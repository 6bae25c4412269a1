"""Config: the numbers that a model's class builds it from, where the model carries them along as `model.config`.

Transformers do so: what is saved and loaded by their own functions is built from its config. Which of its numbers are
widths is not known here; it is tried. A config changes only if the class, called with it, gives a network that has the
smaller one's shapes and, with its tensors, its outputs. No config can say that layers differ; it then stays as it was.
"""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from sapwood.measure.example import Example, as_tuple
from sapwood.shrinking.cutting.cut import Positions
from sapwood.shrinking.cutting.equal import difference
from sapwood.shrinking.tracing.graph import named_tensors

GUESSES = 256  # networks without numbers that are built, about
MOST = 1e-5  # relative difference of outputs in the model's own precision
_REGISTER = nn.Module.register_parameter

Shapes = dict[str, torch.Size]
Place = tuple[int, str]
Numbers = dict[Place, int]  # (which part of the config, attribute) -> number


def configured_(
    small: nn.Module, of: nn.Module, places: Positions, attributes: Mapping[str, Mapping[str, int]], example: Example
) -> None:
    """Give the config of `small`, cut out of `of` at `places`, the numbers that build it."""
    config, made = getattr(small, "config", None), type(small)
    if not hasattr(config, "__dict__") or _built(made, config, "meta") is None:
        return
    search = _Search(made, config, _options(config, _changes(of, places, attributes)), _shapes(small))
    for numbers in search.from_({}):
        built = _filled(small, _with(config, numbers))
        if built is not None and _alike(small, built, example):
            before = {(part, name): vars(_parts(config)[part])[name] for part, name in numbers}
            _set(config, numbers)
            if not _alike(small, built, example):  # it reads its config while it runs, beside numbers of its modules
                _set(config, before)
            return


def _changes(of: nn.Module, places: Positions, attributes: Mapping[str, Mapping[str, int]]) -> set[tuple[int, int]]:
    """(old, new) of all sizes of tensors, and of the numbers that modules had to change, such as counts of heads."""
    sizes = {(len(stay), int(stay.sum())) for dims in places.values() for stay in dims.values()}
    counts = {
        (getattr(of.get_submodule(module), name), value)
        for module, values in attributes.items()
        for name, value in values.items()
    }
    return {(old, new) for old, new in sizes | counts if old != new}


@dataclass
class _Search:
    """A search for numbers with which the class builds a network of the wanted shapes."""

    made: type[nn.Module]
    config: Any
    options: dict[Place, list[int]]
    wanted: Shapes
    left: int = GUESSES

    def from_(self, numbers: Numbers) -> Iterator[Numbers]:
        """Greedy search: change one number at a time while more tensor shapes match, the best change first."""
        now, self.left = self.right(numbers), self.left - 1
        if now == len(self.wanted):
            yield numbers
        elif self.left > 0:
            tries = [numbers | {place: value} for place, values in self.options.items() for value in values]
            self.left -= len(tries)
            better = [(count, each) for each in tries if (count := self.right(each)) > now]
            for _, each in sorted(better, key=lambda pair: -pair[0]):
                yield from self.from_(each)

    def right(self, numbers: Numbers) -> int:
        """How many tensors have their wanted shape; -1 if the class refuses the numbers or builds other tensors."""
        shapes, wanted = _shapes(_built(self.made, _with(self.config, numbers), "meta")), self.wanted
        return sum(shapes[name] == shape for name, shape in wanted.items()) if shapes.keys() == wanted.keys() else -1


def _options(config: Any, changes: set[tuple[int, int]]) -> dict[Place, list[int]]:
    """Candidate values of each integer in the config: value * new / old for each size change (old, new), if whole."""
    found = {}
    for part, thing in enumerate(_parts(config)):
        for name, value in vars(thing).items():
            if type(value) is int and value > 1:
                less = {value * new // old for old, new in changes if value * new % old == 0}
                found[part, name] = sorted(less - {value, 0})
    return found


def _parts(config: Any) -> list[Any]:
    """A config and the configs in it."""
    inner = (value for value in vars(config).values() if type(value).__module__ == type(config).__module__)
    return [config, *(value for value in inner if hasattr(value, "__dict__"))]


def _with(config: Any, numbers: Numbers) -> Any:
    changed = deepcopy(config)
    _set(changed, numbers)
    return changed


def _set(config: Any, numbers: Numbers) -> None:
    """Past __setattr__, which may do more."""
    parts = _parts(config)
    for (part, name), value in numbers.items():
        vars(parts[part])[name] = value


def _built(made: type[nn.Module], config: Any, device: str) -> nn.Module | None:
    """What the class makes of the config; None if it does not."""
    try:
        with torch.random.fork_rng(devices=[]), torch.device(device):
            return made(deepcopy(config))
    except Exception:  # the model's own code, with numbers that may not go together
        return None


def _shapes(model: nn.Module | None) -> Shapes:
    return {} if model is None else {name: tensor.shape for name, tensor in named_tensors(model)}


def _filled(small: nn.Module, config: Any) -> nn.Module | None:
    """What the class makes of the config, on the small network's parameters, with copies of its buffers."""
    here = dict(named_tensors(small))
    device = str(next(iter(here.values())).device)
    with patch.object(nn.Module, "register_parameter", _registered_empty):
        built = _built(type(small), config, device)
    _given(built, here)
    held = [value for module in built.modules() for value in vars(module).values()] if built is not None else [None]
    parts = [part for value in held for part in (value if isinstance(value, list) else [value])]
    if built is None or any(isinstance(part, Tensor) and part.is_meta for part in parts):  # its code wants numbers
        built = _given(_built(type(small), config, device), here)
    return built


def _given(built: nn.Module | None, here: Mapping[str, Tensor]) -> nn.Module | None:
    owned = dict[int, nn.Parameter]()
    for path, module in [] if built is None else [*built.named_modules()]:
        for name, parameter in [*module._parameters.items()]:
            if parameter is not None:
                like = nn.Parameter(here[f"{path}.{name}".lstrip(".")].detach(), parameter.requires_grad)
                setattr(module, name, owned.setdefault(id(parameter), like))
    for name, buffer in built.named_buffers(remove_duplicate=False) if built is not None else ():
        buffer.data = here[name].detach().clone()
    return built


def _registered_empty(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
    """A parameter that gets other numbers anyway has none from the start."""
    if parameter is not None and not parameter.is_meta:
        parameter = nn.Parameter(parameter.data.to("meta"), parameter.requires_grad)
    _REGISTER(module, name, parameter)


def _alike(small: nn.Module, built: nn.Module, example: Example) -> bool:
    try:
        return difference(small, built, [as_tuple(example)]) <= MOST
    except Exception:  # it is built, but does not run
        return False
