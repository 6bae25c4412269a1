"""Shards: samples in files, for data larger than memory; only the samples asked for are read, by a few threads.

A folder holds 00000-of-00003.safetensors and so on: in each, tensors with a row for every sample, and a digest of them.
"""

import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from sapwood import disk
from sapwood.errors import InputError
from sapwood.processes import digest
from sapwood.training import checkpoint
from sapwood.training.samples import Batch, Inputs, Samples

FORMAT = "sapwood-shard-1"
NAME = re.compile(r"(\d{5})-of-(\d{5})\.safetensors").fullmatch
ODD = (SafetensorError, OSError, RuntimeError, ValueError, KeyError, TypeError, OverflowError, MemoryError)

Kind = tuple[str, torch.dtype, tuple[int, ...]]  # a tensor's name, its type, the shape of a sample


@dataclass(frozen=True)
class _Shard:
    """An open file: its tensors are mapped into memory, and a page of them is read when it is first looked at."""

    path: Path
    tensors: Mapping[str, Tensor]
    said: str  # the digest that the file gives

    def __len__(self) -> int:
        return len(self.tensors["targets"])

    @property
    def kinds(self) -> list[Kind]:
        return sorted((name, t.dtype, tuple(t.shape[1:])) for name, t in self.tensors.items())

    @cached_property
    def sound(self) -> Mapping[str, Tensor]:
        """The tensors, once all of the file has been seen to be what was written: asked when it is first used."""
        try:
            checkpoint.refuse_half_truths(self.tensors)
            found = digest(dict(self.tensors)).hex()
        except ODD as error:
            raise _unreadable(self.path, error) from error
        if found != self.said:
            raise InputError(f"{self.path} is damaged: its content does not match its digest; write the shards again")
        return self.tensors

    def take(self, rows: Tensor) -> dict[str, Tensor]:
        return {name: part.index_select(0, rows) for name, part in self.sound.items()}


class Shards:
    """The samples in a folder that `write_shards` made. A file is checked against its digest when it is first used.

    threads: how many files are read at once; what is read does not depend on it.
    """

    def __init__(self, folder: Path | str, *, threads: int = 4, device: torch.device | str = "cpu") -> None:
        if type(threads) is not int or threads < 1:
            raise InputError(f"threads is {threads!r}; give how many files are read at once, at least 1")
        self.folder, self.threads, self._to = Path(folder), threads, torch.device(device)
        self._shards = [_opened(path) for path in _paths(self.folder)]
        for shard in self._shards[1:]:
            if shard.kinds != self._shards[0].kinds:
                raise InputError(
                    f"{shard.path} holds other samples than {self._shards[0].path}; write the shards again"
                )
        self._ends = torch.tensor([len(shard) for shard in self._shards]).cumsum(0)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def take(self, index: Tensor | slice) -> Batch:
        """Return the samples at `index`, whole numbers [B] or a slice, read from as many files as they are in."""
        numbers = torch.arange(len(self))[index] if isinstance(index, slice) else index.cpu().contiguous()
        if len(numbers) and not 0 <= int(numbers.min()) <= int(numbers.max()) < len(self):
            asked = f"{int(numbers.min())} to {int(numbers.max())}"
            raise InputError(f"samples {asked} of {self.folder} were asked for; give numbers from 0 to {len(self) - 1}")
        of = torch.searchsorted(self._ends, numbers, right=True)
        places = {number: (of == number).nonzero().flatten() for number in sorted(set(of.tolist()))}
        parts = self._read({n: numbers[at] - int(self._ends[n]) + len(self._shards[n]) for n, at in places.items()})
        whole: dict[str, Tensor] = {}
        for name, dtype, shape in self._shards[0].kinds:
            whole[name] = torch.empty(len(numbers), *shape, dtype=dtype)
            for number, at in places.items():
                whole[name].index_copy_(0, at, parts[number][name])
        return Batch(_inputs(whole), whole["targets"]).to(self._to)

    def digest(self) -> bytes:
        """Return a fingerprint of what the files say of their content."""
        return blake2b("|".join(shard.said for shard in self._shards).encode(), digest_size=16).digest()

    def to(self, device: torch.device | str) -> "Shards":
        """Return samples that are read to another device; itself if that is where they come."""
        there = torch.device(device)
        return self if there == self._to else Shards(self.folder, threads=self.threads, device=there)

    def _read(self, rows: Mapping[int, Tensor]) -> dict[int, dict[str, Tensor]]:
        shards = [self._shards[number] for number in rows]
        if min(self.threads, len(shards)) < 2:
            return {number: shard.take(at) for shard, (number, at) in zip(shards, rows.items(), strict=True)}
        return dict(zip(rows, self._pool.map(_Shard.take, shards, rows.values()), strict=True))

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.threads, thread_name_prefix="shards")


def write_shards(samples: Samples, folder: Path | str, *, size: int) -> Shards:
    """Write samples to a new folder, `size` of them to a file, one file's worth in memory at a time; return them."""
    folder, count = Path(folder), len(samples)
    if type(size) is not int or size < 1:
        raise InputError(f"size is {size!r}; give how many samples a file holds, at least 1")
    try:
        folder.mkdir(parents=True, exist_ok=False)
    except OSError as error:
        raise disk.unwritten(f"make the folder {folder}", error) from error
    files = -(-count // size)
    for number in range(files):
        part = samples.take(slice(number * size, (number + 1) * size)).named()
        tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in part.items()}
        content = save(tensors, metadata={"format": FORMAT, "digest": digest(tensors).hex()})
        disk.replace(folder / _name(number, files), content)
    return Shards(folder)


def _paths(folder: Path) -> list[Path]:
    """The files of a folder that belong together, all of them."""
    try:
        found = sorted(path for path in folder.iterdir() if NAME(path.name))
    except OSError as error:
        raise InputError(f"cannot read the shards in {folder}: {disk.reason(error)}; check its name") from error
    files = len(found)
    if not found or [path.name for path in found] != [_name(number, files) for number in range(files)]:
        there = ", ".join(path.name for path in found[:3]) or "none"
        raise InputError(f"the shards in {folder} are not whole ({files}: {there}...); write them again")
    return found


def _name(number: int, files: int) -> str:
    return f"{number:05}-of-{files:05}.safetensors"


def _opened(path: Path) -> _Shard:
    if not path.is_file():
        raise InputError(f"cannot read {path}: it is no plain file; write the shards again")
    try:
        with safe_open(path, framework="pt") as file:
            said: dict[str, str] = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in list(file.keys())}
    except ODD as error:
        raise _unreadable(path, error) from error
    if said.get("format") != FORMAT or said.keys() != {"format", "digest"}:
        raise InputError(f"{path} is no shard of samples: it has no format {FORMAT!r}; write the shards again")
    names, counts = set(tensors) - {"targets"}, {len(t) if t.dim() else -1 for t in tensors.values()}
    named = names == {"inputs"} or (names and all(name.startswith("inputs/") for name in names))
    if "targets" not in tensors or not named or len(counts) != 1 or counts <= {-1, 0}:
        raise InputError(f"{path} does not hold inputs and targets, a row for each sample; write the shards again")
    return _Shard(path, tensors, said["digest"])


def _inputs(whole: Mapping[str, Tensor]) -> Inputs:
    """The inputs as they were: a tensor, a tuple, a dict."""
    if "inputs" in whole:
        return whole["inputs"]
    parts = {name.removeprefix("inputs/"): part for name, part in whole.items() if name != "targets"}
    tuples = list(map(str, range(len(parts))))
    return tuple(parts[name] for name in tuples) if set(parts) == set(tuples) else parts


def _unreadable(path: Path, error: Exception) -> InputError:
    said = " ".join(disk.reason(error).split())[:300]
    return InputError(f"cannot read {path} ({said}); write the shards again")
