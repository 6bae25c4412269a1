"""Elsewhere: a network that was trained elsewhere, as a file of weights, for a trial to begin with or to learn from."""

import io
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from os import stat
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from sapwood import disk, export
from sapwood.errors import InputError, first_line
from sapwood.export.packed import is_network
from sapwood.training import checkpoint
from sapwood.training.given import Given
from sapwood.training.state import refuse_other_weights

KINDS = (".safetensors", ".pt", ".pth", ".bin")
FOR = ("start", "teacher")


@dataclass(frozen=True)
class Elsewhere:
    """A file of weights: a state dict, or what `export.save` or `Run.save` wrote.

    What it is, is its digest: the same bytes under another path are the same start, other bytes under this path are
    another. `Elsewhere(digest, path)` names a file that is not here, to read the results of trials that used it.
    """

    digest: str  # SHA-256 of its bytes, as `sha256sum` prints it
    path: Path = field(compare=False)

    @classmethod
    def used(cls, given: object, name: str, arm: str) -> "Elsewhere":
        """The file that `arm` was given as `name`; InputError unless there is one, and it may be used so."""
        if isinstance(given, cls) and name in FOR:
            return given
        if not isinstance(given, (str, Path)) or name not in FOR:
            more = ": a file does not say how it was trained" if isinstance(given, (cls, Path)) else ""
            raise InputError(f"arm {arm!r} uses {given!r} as {name!r}; give a Trial{more}")
        path = Path(given)
        if not path.is_file():
            what = "that is a folder" if path.is_dir() else f"there is no such file, looked for in {Path.cwd()}"
            raise InputError(
                f"arm {arm!r} uses {str(given)!r} as {name!r}, and {what}; give a Trial, or a file of weights"
            )
        if path.suffix not in KINDS:
            raise InputError(f"arm {arm!r} uses {str(given)!r} as {name!r}; give a name in {', '.join(KINDS)}")
        found = stat(path)
        return cls(_digest(path, found.st_size, found.st_mtime_ns), path)

    @classmethod
    def there(cls, path: Path, arm: str, kept: Path) -> "Elsewhere | None":
        """The file that `arm` begins with, if it is there; else the one that `kept` has a digest of; else None.

        For arms that a study leaves out where nobody has made their file. `kept` is a list as `sha256sum` prints it,
        so that results can be read without the files; it may be missing.
        """
        if path.is_file():
            return cls.used(path, "start", arm)
        lines = disk.read(kept).decode().splitlines() if kept.is_file() else []
        digest = next((line.split()[0] for line in lines if line.split()[1:] == [path.name]), None)
        return cls(digest, path) if digest else None

    @property
    def id(self) -> str:
        """What stands for it in a trial's identity."""
        return f"file:{self.digest[:24]}"

    def as_of(self, *, before: bool) -> "Elsewhere":
        """The same file, whatever the versions: see `Trial.as_of`."""
        return self

    def given(self, make: Callable[[], nn.Module], device: str) -> Given:
        """What a trial is given; `make` gives the network whose weights are in the file, or from which it was shrunk.

        InputError if the file has changed since the trial was made, or holds another network's weights.
        """
        content = disk.read(self.path, "the weights")
        if sha256(content).hexdigest() != self.digest:
            raise InputError(f"{self.path} has changed since its digest was taken; make the trial, or the study, anew")
        if is_network(content):
            build = lambda: export.load(self.path, make).to(device)  # noqa: E731
            weights = Given({}, {}, 0.0, True, build).network().state_dict()
            return Given(weights, {}, 0.0, True, build)
        build = lambda: _filled(make(), state_dict_in(content, self.path), self.path).to(device)  # noqa: E731
        return Given(Given({}, {}, 0.0, build=build).network().state_dict(), {}, 0.0, build=build)


@lru_cache(maxsize=64)  # a study asks for the same file once a trial
def _digest(path: Path, size: int, changed: int) -> str:
    return sha256(disk.read(path, "the weights")).hexdigest()


def state_dict_in(content: bytes, path: Path) -> dict[str, Tensor]:
    """The state dict in the bytes of a file, or the one under "state_dict" or "model" in it; nothing is unpickled."""
    try:
        found: Any = _opened(content, path)
    except Exception as error:  # safetensors' and pickle's own are of many kinds
        raise unreadable(path, error) from error
    for inner in ("state_dict", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(inner), Mapping):
            found = found[inner]
    if not isinstance(found, Mapping) or not all(isinstance(each, Tensor) for each in found.values()):
        raise InputError(f"{path} holds no state dict; save model.state_dict()")
    return dict(found)


def unreadable(path: Path, error: Exception) -> InputError:
    """What to say of a file of weights that cannot be read; safetensors' and pickle's own words are of many kinds."""
    said = first_line(error)[:100]
    if isinstance(error, UnpicklingError):
        said = "torch.save did not write it"
        if "GLOBAL" in str(error):
            said = "it holds more than tensors, as a whole model does, and reading that can run anything"
    return InputError(f"{path} cannot be read as weights: {said}; save model.state_dict()")


def unwrapped(tensors: Mapping[str, Tensor], names: Collection[str]) -> Mapping[str, Tensor]:
    """Weights under a model's `names`, where all were saved with words of a wrapper before them.

    "module." is from DataParallel and DDP, "_orig_mod." from torch.compile, "model." and the like from Lightning.
    """
    first = next(iter(tensors), "")
    for wrapper in (first[: at + 1] for at, letter in enumerate(first) if letter == "."):
        if tensors.keys() == {f"{wrapper}{name}" for name in names}:
            return {name.removeprefix(wrapper): each for name, each in tensors.items()}
    return tensors


def _opened(content: bytes, path: Path) -> object:
    if path.suffix != ".safetensors":
        return torch.load(io.BytesIO(content), "cpu", weights_only=True)
    ours = checkpoint._header(content).get("format") == checkpoint.FORMAT
    return checkpoint.decode(content, str(path)) if ours else checkpoint.opened(content)


def _filled(model: nn.Module, weights: Mapping[str, Tensor], path: Path) -> nn.Module:
    weights = unwrapped(weights, model.state_dict())
    try:
        refuse_other_weights(model, weights)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    model.load_state_dict(dict(weights))
    return model
