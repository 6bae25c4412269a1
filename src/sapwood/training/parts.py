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
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sapwood import disk, processes, schema
from sapwood.errors import InputError
from sapwood.training import checkpoint
from sapwood.training.memory import cloned
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
        return _of_one(state)
    return _with(_added_up(state), {at: processes.whole(value) for at, value in parts.items()})


def parted(weights: Mapping[str, Tensor], current: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Whole weights, sharded as those of the same names are now."""
    return {name: processes.like(value, current[name]) if name in current else value for name, value in weights.items()}


def in_parts(saved: Mapping[str, Any], model: nn.Module, optimizer: Optimizer) -> dict[str, Any]:
    """A saved state for this process: weights, and what the optimiser has for each, are sharded as they are now."""
    if (share := saved.get("share", _share())) != _share():
        raise InputError(f"it has counted the samples of process {share[0]} of {share[1]} alone, and this is process "
                         f"{_share()[0]} of {_share()[1]}; go on in {share[1]} processes, each from its own, or from a "
                         "state of an epoch's end")  # fmt: skip
    of, whole = _owners(model, optimizer), {name: saved[name] for name in ("model", "optimizer")}
    cut = {at: processes.like(value, p) for at, value in _tensors(whole) if (p := of(at, value)) is not None}
    mine = {**saved, **_with(whole, cut), "masks": cloned(saved["masks"])}  # which may lie in a file
    if "share" in saved or processes.rank() == 0:  # each has saved what it had, or the first has all
        return mine
    summed = saved.get("summed", [list(at) for at, _ in _tensors(saved) if at[:2] == SEEN])
    zero = {at: torch.zeros_like(value) for at, value in _tensors(saved) if list(at) in summed}
    return _with({**mine, "sums": dict.fromkeys(saved["sums"], 0.0)}, zero)


@processes.connected()
def save(path: Path, state: Mapping[str, Any]) -> None:
    """Write a state to a file; to a folder if tensors in it are sharded, of which each process writes its parts.

    By torch.distributed.checkpoint, as safetensors, so nothing has to be unpickled. What is not sharded comes last, in
    a file that names the folder of the parts: until then the state that was saved before stays. Where one process
    cannot write, all have its error, and nothing of the new state is left.
    """
    parts = {at: value for at, value in _tensors(state) if processes.sharded(value)}
    if not parts:
        checkpoint.write(path, _of_one(state))
        return
    rest = _with(_added_up(state), dict.fromkeys(parts))
    folder = path / f"parts-{processes.gathered(secrets.token_hex(4).encode())[0].decode()}"
    try:
        _agreed(lambda: path.mkdir(parents=True, exist_ok=True), f"make the folder {path}", first=True)
        _write_parts(folder, {_name(at): value for at, value in parts.items()})
        mine = f"shard-{processes.rank() + 1:05d}-*.safetensors"
        sums = _agreed(lambda: _sums(folder.glob(mine)), f"write to {folder}")
        kept = {"folder": folder.name, "files": sums, "parts": [list(at) for at in parts], "state": rest}
        _agreed(lambda: _finish(path, kept), f"write {path}", first=True)
    except InputError:
        shutil.rmtree(folder, ignore_errors=True)  # a full disk has no room for half a state
        raise


def read(path: Path, model: nn.Module | None = None, optimizer: Optimizer | None = None) -> dict[str, Any]:
    """The state that `save` wrote, on the CPU; in one process or in each of several, however many wrote it.

    Whole, unless it is for a sharded model: then all processes read at once, of what was written in parts each its own,
    and what one process has written stays in the file, to be cut by `in_parts`.
    """
    mine = _owners(model, optimizer) if model is not None and optimizer is not None and _sharded(model) else None
    if not path.is_dir():
        return checkpoint.read(path, mapped=mine is not None)
    kept = checkpoint.read(path / REST)
    try:
        KEPT(kept, "it")
        schema.demand(re.fullmatch(r"parts-[0-9a-f]{8}", kept["folder"]) is not None, "folder", kept["folder"], "parts")
        folder, names = path / kept["folder"], {_name(at): tuple(at) for at in kept["parts"]}
        files = sorted(folder.glob("*.safetensors"))
        sums = _agreed(lambda: _sums(files[processes.share()]), f"read {folder}") if mine else _sums(files)
        if sums != kept["files"]:
            raise ValueError(f"the files in {kept['folder']} are not those that were written")
        tensors = _read_parts(folder, lambda name, value: mine(names[name], value) if mine and name in names else None)
        if tensors.keys() != names.keys():
            raise ValueError("other parts are in its files")
        return _with(kept["state"], {at: tensors[name] for name, at in names.items()})
    except (ValueError, OSError) as error:
        raise InputError(f"{path} holds no whole state ({schema.brief(error)}); delete it to start afresh") from error


def _of_one(state: Mapping[str, Any]) -> dict[str, Any]:
    """The state of a model that is not sharded, which says whose it is where each process has counts of its own."""
    own = processes.world() > 1 and (state["sums"] or SEEN[1] in state["memory"])
    return {**state, "share": _share()} if own else dict(state)


def _share() -> list[int]:
    return [processes.rank(), processes.world()]


def _sharded(model: nn.Module) -> bool:
    return any(map(processes.sharded, model.parameters()))


def _owners(model: nn.Module, optimizer: Optimizer) -> Callable[[At, Tensor], Tensor | None]:
    """Which sharded parameter a tensor in a state is of and shaped like: by number in the optimiser, else by name."""
    named, numbered = (
        model.state_dict(),
        dict(enumerate(p for group in optimizer.param_groups for p in group["params"])),
    )

    def of(at: At, value: Tensor) -> Tensor | None:
        found = numbered.get(int(at[2])) if at[:2] == ("optimizer", "state") else named.get(str(at[-1]))
        return found if found is not None and processes.sharded(found) and found.shape == value.shape else None

    return of


def _sums(files: Iterable[Path]) -> dict[str, str]:
    """The digest of each file, by its name."""
    return {file.name: _sum(file) for file in files}


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
    unlike = {at for number, at in enumerate(own) if any(one[number] != every[0][number] for one in every)}
    seen = any(at[:2] == SEEN for at in unlike)  # then all of it, also where processes have seen as much
    summed = [at for at in own if at in unlike or (seen and at[:2] == SEEN)]
    total = processes.add_up({"": {_name(at): own[at] for at in summed}})[""]
    sums = {"sums": processes.add_up_numbers(state["sums"]), "summed": [list(at) for at in summed]}
    return _with({**state, **sums}, {at: total[_name(at)] for at in summed})


def _name(at: At) -> str:
    return "/".join(map(str, at))


def _write_parts(folder: Path, parts: dict[str, Any]) -> None:
    shared: Any = import_module("torch.distributed.checkpoint")

    try:
        shared.save(parts, storage_writer=shared.HuggingFaceStorageWriter(str(folder), save_distributed=True))
    except shared.CheckpointException as error:  # the same in all processes
        number, (why, _) = min(error.failures.items())
        raise disk.unwritten(f"write the parts of a state to {folder} (process {number})", why) from error


def _read_parts(folder: Path, mine: Callable[[str, Tensor], Tensor | None]) -> dict[str, Tensor]:
    """All parts by name: of those that are this process's as of others, its own; the others whole."""
    shared: Any = import_module("torch.distributed.checkpoint")
    reader, tensors = shared.HuggingFaceStorageReader(str(folder)), {}
    for name, each in reader.read_metadata().state_dict_metadata.items():
        found = torch.empty(each.size, dtype=each.properties.dtype, device="meta")
        owner = mine(name, found)
        tensors[name] = torch.empty_like(
            found if owner is None else owner, dtype=found.dtype, device="cpu" if owner is None else None
        )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")  # one process is as welcome
        shared.load(tensors, storage_reader=reader, no_dist=True)
    return tensors


def _finish(path: Path, kept: Mapping[str, Any]) -> None:
    checkpoint.write(path / REST, kept)
    for other in path.glob("parts-*"):
        if other.name != kept["folder"]:
            shutil.rmtree(other, ignore_errors=True)


def _agreed(act: Callable[[], Mapping[str, str] | None], what: str, *, first: bool = False) -> dict[str, str]:
    """What all processes find, put together; `first`: one alone does it. Where one fails all fail, with its words."""
    found, why = dict[str, str](), ""
    if processes.rank() == 0 or not first:
        try:
            found = dict(act() or {})
        except (InputError, OSError) as error:
            why = str(error if isinstance(error, InputError) else disk.unwritten(what, error))
    every = [json.loads(each) for each in processes.gathered(json.dumps([found, why]).encode())]
    if failed := [why for _, why in every if why]:
        raise InputError(failed[0])
    return {name: one for found, _ in every for name, one in found.items()}
