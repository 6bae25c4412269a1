"""Parts: the state of a run whose model is sharded over processes (FSDP2), for any number of processes to go on from.

What processes have different tensors of in a method's memory are sums over their own samples: they are added up, and
of the processes that go on the first has the sum, the others 0.
"""

import hashlib
import json
import re
import secrets
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sapwood import disk, processes, schema
from sapwood.errors import InputError
from sapwood.training import checkpoint
from sapwood.training.state import key_of

At = tuple[str | int, ...]  # the keys that lead to something in a tree
SEEN = ("memory", "seen")  # what one process, which cannot tell, has summed over all samples
KEPT = schema.record({
    "folder": schema.text, "files": schema.mapping(schema.text), "state": schema.mapping(lambda *_: None),
    "parts": schema.items(schema.items(key_of, least=1)),
})  # fmt: skip
REST = "rest.safetensors"  # the file with all that is not sharded


def whole(state: Mapping[str, Any]) -> dict[str, Any]:
    """A run's state with all tensors whole; all processes ask for it at once."""
    parts = {at: value for at, value in _tensors(state) if processes.sharded(value)}
    if not parts:
        return dict(state)
    return _with(_added_up(state), {at: processes.whole(value) for at, value in parts.items()})


def parted(weights: Mapping[str, Tensor], current: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Whole weights, sharded as those of the same names are now."""
    return {name: processes.like(value, current[name]) if name in current else value for name, value in weights.items()}


def in_parts(saved: Mapping[str, Any], model: nn.Module, optimizer: Optimizer) -> dict[str, Any]:
    """A saved state for this process: weights, and what the optimiser has for each, are sharded as they are now."""
    steps = saved["optimizer"]
    every = dict(enumerate(p for group in optimizer.param_groups for p in group["params"]))
    state = {n: {key: _alike(value, every.get(n)) for key, value in kept.items()} for n, kept in steps["state"].items()}
    mine = {"model": parted(saved["model"], model.state_dict()), "optimizer": {**steps, "state": state}}
    own = "summed" not in saved and not any(map(processes.sharded, model.parameters()))  # each has saved what it had
    if own or processes.rank() == 0:
        return {**saved, **mine}
    summed = saved.get("summed", [list(at) for at, _ in _tensors(saved) if at[:2] == SEEN])
    zero = {at: torch.zeros_like(value) for at, value in _tensors(saved) if list(at) in summed}
    return _with({**saved, **mine, "sums": dict.fromkeys(saved["sums"], 0.0)}, zero)


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Write a state to a file; to a folder if tensors in it are sharded, of which each process writes its parts.

    By torch.distributed.checkpoint, as safetensors, so nothing has to be unpickled. What is not sharded comes last, in
    a file that names the folder of the parts: until then the state that was saved before stays.
    """
    parts = {at: value for at, value in _tensors(state) if processes.sharded(value)}
    if not parts:
        checkpoint.write(path, state)
        return
    rest = _with(_added_up(state), dict.fromkeys(parts))
    folder = f"parts-{processes.gathered(secrets.token_hex(4).encode())[0].decode()}"
    _agreed(lambda: path.mkdir(parents=True, exist_ok=True), path)
    _write_parts(path / folder, {_name(at): value for at, value in parts.items()})
    sums = [json.loads(each) for each in processes.gathered(json.dumps(_own_sums(path / folder)).encode())]
    files = {name: one for each in sums for name, one in each.items()}
    kept = {"folder": folder, "files": files, "parts": [list(at) for at in parts], "state": rest}
    _agreed(lambda: _finish(path, kept), path)


def read(path: Path) -> dict[str, Any]:
    """The state that `save` wrote, whole, on the CPU; in one process or in each of several, however many wrote it."""
    if not path.is_dir():
        return checkpoint.read(path)
    kept = checkpoint.read(path / REST)
    try:
        KEPT(kept, "it")
        schema.demand(re.fullmatch(r"parts-[0-9a-f]{8}", kept["folder"]) is not None, "folder", kept["folder"], "parts")
        folder, names = path / kept["folder"], {_name(at): tuple(at) for at in kept["parts"]}
        if {file.name: _sum(file) for file in folder.glob("*.safetensors")} != kept["files"]:
            raise ValueError(f"the files in {kept['folder']} are not those that were written")
        tensors = _read_parts(folder)
        if tensors.keys() != names.keys():
            raise ValueError("other parts are in its files")
        return _with(kept["state"], {at: tensors[name] for name, at in names.items()})
    except (ValueError, OSError) as error:
        raise InputError(f"{path} holds no whole state ({schema.brief(error)}); delete it to start afresh") from error


def _own_sums(folder: Path) -> dict[str, str]:
    """The digest of each file that this process has written."""
    return {file.name: _sum(file) for file in folder.glob(f"shard-{processes.rank() + 1:05d}-*.safetensors")}


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _tensors(tree: Mapping[Any, Any], at: At = ()) -> Iterator[tuple[At, Tensor]]:
    """All tensors in dicts of dicts, each with the keys that lead to it."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _tensors(value, (*at, key))
        elif isinstance(value, Tensor):
            yield (*at, key), value


def _with(tree: Mapping[Any, Any], others: Mapping[At, Any], at: At = ()) -> dict[Any, Any]:
    """The tree with something else in these places; None takes out what is there."""
    found = {}
    for key, value in tree.items():
        here = (*at, key)
        if here not in others:
            found[key] = _with(value, others, here) if isinstance(value, Mapping) else value
    for there, value in others.items():
        if there[:-1] == at and value is not None:
            found[there[-1]] = value
    return found


def _added_up(state: Mapping[str, Any]) -> dict[str, Any]:
    """With the sums over processes of whatever each has its own of."""
    own = {at: value for at, value in _tensors({"memory": state["memory"]}) if not processes.sharded(value)}
    said = processes.gathered(json.dumps([[at, processes.digest({"": own[at]}).hex()] for at in own]).encode())
    every = [json.loads(one) for one in said]
    if any([at for at, _ in one] != [at for at, _ in every[0]] for one in every):
        raise InputError("the method remembers other things in each process, so that no one state can be saved")
    summed = [at for number, at in enumerate(own) if any(one[number] != every[0][number] for one in every)]
    total = processes.add_up({"": {_name(at): own[at] for at in summed}})[""]
    sums = {"sums": processes.add_up_numbers(state["sums"]), "summed": [list(at) for at in summed]}
    return _with({**state, **sums}, {at: total[_name(at)] for at in summed})


def _alike(value: Any, parameter: Tensor | None) -> Any:
    """What an optimiser has for a parameter: sharded alike if it has its shape."""
    same = parameter is not None and isinstance(value, Tensor) and value.shape == parameter.shape
    return processes.like(value, parameter) if same and parameter is not None else value


def _name(at: At) -> str:
    return "/".join(map(str, at))


def _write_parts(folder: Path, parts: dict[str, Any]) -> None:
    shared: Any = import_module("torch.distributed.checkpoint")

    try:
        shared.save(parts, storage_writer=shared.HuggingFaceStorageWriter(str(folder), save_distributed=True))
    except (shared.CheckpointException, OSError) as error:  # the same in all processes
        raise disk.unwritten(f"write the parts of a state to {folder}", error) from error


def _read_parts(folder: Path) -> dict[str, Tensor]:
    shared: Any = import_module("torch.distributed.checkpoint")
    reader = shared.HuggingFaceStorageReader(str(folder))
    about = reader.read_metadata().state_dict_metadata
    tensors = {name: torch.empty(each.size, dtype=each.properties.dtype) for name, each in about.items()}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")  # one process is as welcome
        shared.load(tensors, storage_reader=reader, no_dist=True)
    return tensors


def _finish(path: Path, kept: Mapping[str, Any]) -> None:
    checkpoint.write(path / REST, kept)
    for other in path.glob("parts-*"):
        if other.name != kept["folder"]:
            shutil.rmtree(other, ignore_errors=True)


def _agreed(act: Callable[[], object], path: Path) -> None:
    """Process 0 does it; the others wait, and fail as it does."""
    why = ""
    if processes.rank() == 0:
        try:
            act()
        except (InputError, OSError) as error:
            why = str(error if isinstance(error, InputError) else disk.unwritten(f"make the folder {path}", error))
    if why := processes.gathered(why.encode())[0].decode():
        raise InputError(why)
