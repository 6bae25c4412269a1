"""Parts: the state of a run whose model is sharded over processes (FSDP2), for any number of processes to go on from.

What processes have different tensors of in a method's memory are sums over their own samples: they are added up, and
of the processes that go on the first has the sum, the others 0.
"""

import json
import secrets
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.optim import Optimizer

from sapwood import disk, processes
from sapwood.errors import InputError
from sapwood.training import checkpoint

At = tuple[str | int, ...]  # the keys that lead to something in a tree
SEEN = ("memory", "seen")  # what one process, which cannot tell, has summed over all samples
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
    about = [[list(at), list(value.shape), str(value.dtype).removeprefix("torch.")] for at, value in parts.items()]
    _agreed(lambda: _finish(path, {"folder": folder, "parts": about, "state": rest}), path)


def read(path: Path) -> dict[str, Any]:
    """The state that `save` wrote, whole, on the CPU; in one process or in each of several, however many wrote it."""
    if not path.is_dir():
        return checkpoint.read(path)
    kept = checkpoint.read(path / REST)
    try:
        tensors = {tuple(at): torch.empty(shape, dtype=getattr(torch, dtype)) for at, shape, dtype in kept["parts"]}
        _read_parts(path / kept["folder"], {_name(at): value for at, value in tensors.items()})
        return _with(kept["state"], tensors)
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, OSError, SafetensorError) as error:
        why = str(error).strip().rpartition("\n")[2]
        raise InputError(
            f"{path} holds no whole state ({type(error).__name__}: {why}); delete it to start afresh"
        ) from error


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


def _read_parts(folder: Path, tensors: dict[str, Any]) -> None:
    shared: Any = import_module("torch.distributed.checkpoint")

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.distributed is disabled")  # one process is as welcome
            shared.load(tensors, storage_reader=shared.HuggingFaceStorageReader(str(folder)), no_dist=True)
    except shared.CheckpointException as error:
        raise ValueError(error) from error


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
