"""Owned: a network of the user's own, from FILE.py:make, with weights from a file and an example of its input."""

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from sapwood.cli.checking import load
from sapwood.errors import InputError, unknown
from sapwood.measure.example import Example, as_tuple, call, takes
from sapwood.trials.elsewhere import unreadable, unwrapped

WEIGHTS = (".safetensors", ".pt", ".pth", ".bin")


@dataclass(frozen=True)
class Order:
    """What was typed about a network; checked before anything is imported."""

    source: str  # FILE.py:make
    weights: Path | None
    examples: Sequence[str]

    def __post_init__(self) -> None:
        file, colon, name = self.source.rpartition(":")
        if not colon or not file or not name.isidentifier():
            _refuse_missing(Path(self.source), "Python file")
            raise InputError(
                f"{self.source!r} is not FILE.py:NAME; give a file and the function in it that makes the model"
            )
        _refuse_missing(Path(file), "Python file")
        if not file.endswith(".py"):
            raise InputError(f"{file!r} is not a Python file; give one that ends in .py, and the function in it")
        if self.weights is not None:
            _refuse_missing(self.weights, "file of weights")
            if self.weights.suffix not in WEIGHTS:
                raise InputError(f"--weights {self.weights} ends in {self.weights.suffix!r}; give {', '.join(WEIGHTS)}")
        for text in self.examples:
            _shape(text)

    @property
    def name(self) -> str:
        """What the function is called."""
        return self.source.rpartition(":")[2]

    def made(self) -> "Owned":
        """The network with its weights in evaluation mode, and the example."""
        tensors = None if self.weights is None else _weights(self.weights)
        make = self.make()
        network, example = _pair(_made(make, self.source), self.source)
        if tensors is not None:
            _fill_(network, tensors, self.weights)
        if not self.examples and example is None:
            raise InputError(
                f"no example of the input; give --example 1,3,224,224, or let {self.name} return (model, example)"
            )
        given = _example(self.examples) if self.examples else example
        _refuse_unanswered(network.eval(), given, f"--example {' '.join(self.examples)}" if self.examples else "")
        return Owned(network, given, make)

    def make(self) -> Callable[[], Any]:
        """The function."""
        return self.function(self.name)

    def function(self, name: str) -> Callable[..., Any]:
        """A function of the same file."""
        found: Any = getattr(self._module, name, None)
        if not callable(found):
            known = [n for n, thing in vars(self._module).items() if callable(thing)]
            raise unknown(f"function in {self.source.rpartition(':')[0]}:", name, known)
        if isinstance(found, nn.Module):
            raise InputError(f"{name} in {self.source} is a network; give a function that makes it, as def make(): ...")
        function: Callable[..., Any] = found
        return function

    @cached_property
    def _module(self) -> ModuleType:
        """The file, imported once."""
        return load(Path(self.source.rpartition(":")[0]))


@dataclass(frozen=True)
class Owned:
    """A network of the user's own."""

    model: nn.Module
    example: Any
    make: Callable[[], Any]

    def original(self) -> nn.Module:
        """Another network of the same class and options."""
        return _pair(self.make(), "make")[0]


def _made(make: Callable[[], Any], source: str) -> object:
    try:
        return make()
    except (Exception, SystemExit) as error:
        raise InputError(f"{source} fails: {said(error)}; mend it, or see where with --traceback") from error


def _refuse_unanswered(network: nn.Module, example: Any, given: str) -> None:
    """The network is called once: what it says of a wrong example is shorter than what its export says."""
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, with lines of its own code; the error says it
            call(network, as_tuple(example))
    except InputError:
        raise
    except Exception as error:
        what = given or "the example that comes with it"
        raise InputError(
            f"{type(network).__name__} does not take {what}: {said(error)}; {_hint(network, example)}"
        ) from error


def _hint(network: nn.Module, example: Any) -> str:
    """What to type instead."""
    if isinstance(example, Mapping):
        return f"{takes(network)}; the example has the keys {', '.join(map(repr, example))}"
    return f"{takes(network)}; for a dict, or arguments by name, write --example NAME=SHAPE once for each"


def said(error: BaseException) -> str:
    """An error in one short line."""
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:200]}".rstrip(": ")


def _pair(made: object, source: str) -> tuple[nn.Module, Example | None]:
    network, example = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(network, nn.Module):
        raise InputError(
            f"{source} gives a {type(network).__name__}; it must return a torch.nn.Module, or (model, example)"
        )
    return network, example


def _refuse_missing(path: Path, what: str) -> None:
    if not os.path.lexists(path):
        raise InputError(f"there is no {what} {str(path)!r}; check the path")
    if os.path.isdir(path):
        raise InputError(f"{str(path)!r} is a folder; give a {what}")


def _weights(path: Path) -> Mapping[str, Tensor]:
    """The state dict in a file, or the one under "state_dict" or "model" there."""
    tensors = _read(path)
    for inner in ("state_dict", "model"):
        if isinstance(tensors, Mapping) and isinstance(tensors.get(inner), Mapping):
            tensors = tensors[inner]
    if not isinstance(tensors, Mapping) or not all(isinstance(each, Tensor) for each in tensors.values()):
        raise InputError(f"{path} holds no state dict{_instead(tensors)}; save model.state_dict()")
    return tensors


def _instead(found: object) -> str:
    """What a file has, and under which key the weights may be."""
    if not isinstance(found, Mapping):
        return f" but a {type(found).__name__}"
    inside = [key for key, each in found.items() if isinstance(each, Mapping) and each
              and all(isinstance(x, Tensor) for x in each.values())]  # fmt: skip
    hint = f", of which {inside[0]!r} looks like one: torch.save(torch.load(...)[{inside[0]!r}], ...)" * bool(inside)
    return f" but the entries {', '.join(map(repr, list(found)[:8]))}{hint}"


def _fill_(network: nn.Module, tensors: Mapping[str, Tensor], path: Path | None) -> None:
    """Weights into the network; errors name their file."""
    try:
        network.load_state_dict(unwrapped(tensors, network.state_dict()))
    except RuntimeError as error:
        said = [line.strip() for line in str(error).splitlines()[1:]] or [str(error)]
        raise InputError(f"the weights in {path} are not this network's: {said[0][:200]}") from error


def _read(path: Path) -> Any:
    try:
        return load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except Exception as error:  # safetensors' and pickle's own are of many kinds
        raise unreadable(path, error) from error


def _shape(text: str) -> tuple[str, tuple[int, ...], bool]:
    """(name or "", sizes, whether whole numbers) of "[NAME=]1,3,224,224[:int]"."""
    name, _, rest = text.rpartition("=")
    sizes, colon, kind = rest.partition(":")
    parts = sizes.split(",")
    if not all(part.strip().isdigit() and int(part) > 0 for part in parts) or (colon and kind != "int"):
        raise InputError(
            f"--example {text!r} is no shape; write 1,3,224,224, or 1,128:int for token ids, or input_ids=1,128:int"
        )
    return name.strip(), tuple(int(part) for part in parts), bool(colon)


def _example(texts: Sequence[str]) -> Example:
    """Random numbers, or ones for whole numbers, by name where names are given."""
    generator = torch.Generator().manual_seed(0)
    found = [
        (name, torch.ones(sizes, dtype=torch.int64) if whole else torch.rand(sizes, generator=generator))
        for name, sizes, whole in map(_shape, texts)
    ]
    if all(name for name, _ in found):
        return dict(found)
    if any(name for name, _ in found):
        raise InputError("--example gives some inputs with a name and some without; name all or none")
    return found[0][1] if len(found) == 1 else tuple(tensor for _, tensor in found)
