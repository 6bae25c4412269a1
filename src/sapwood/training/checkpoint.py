"""Checkpoints: plain values and tensors to one safetensors file and back. Nothing is ever unpickled.

A tree of dicts, lists, numbers, strings and tensors is split in two: the tensors go into the file as they are, the
rest as JSON into its header. The file is written beside its place and renamed, so it is whole or absent; a digest
of the tensors tells a damaged file from a good one. A digest is no signature, so the words are not trusted either: what
is read must give, written again, the very words of the file.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor

from sapwood import disk, schema
from sapwood.disk import replace as replace
from sapwood.errors import InputError
from sapwood.processes import digest, refuse_sharded

FORMAT = "sapwood-1"
DIGITS = 32  # of a digest
TENSOR, TUPLE, MAP = RESERVED = "__tensor__", "__tuple__", "__map__"


def write(path: Path, tree: Mapping[str, Any]) -> None:
    """Save the tree; the old file stays until the new one is complete."""
    own, words = _copied(tree)
    later = len(_preface(own, {"format": FORMAT, "tree": words, "digest": "0" * DIGITS}))
    with disk.replacing(path) as file, ThreadPoolExecutor(1) as aside:
        metadata = aside.submit(_metadata, own, words, copies=True)  # while the tensors are written
        file.seek(later)
        for tensor in own.values():
            file.write(_bytes(tensor))
        file.seek(0)
        file.write(_preface(own, metadata.result()))


def read(path: Path, *, mapped: bool = False) -> dict[str, Any]:
    """The tree that `write` saved, on the CPU; a missing, foreign, truncated or damaged file is refused.

    mapped: its tensors stay in the file, from which the system fetches what is looked at, once for all processes.
    """
    if not disk.there(path):
        raise InputError(f"there is no checkpoint at {path}")
    if mapped:
        return _decoded(lambda: _mapped(path), str(path))
    return decode(disk.read(path, "the checkpoint"), str(path))


def encode(tree: Mapping[str, Any]) -> bytes:
    """The tree as the bytes of a safetensors file."""
    own, words = _copied(tree)
    return b"".join([_preface(own, _metadata(own, words, copies=True)), *map(_bytes, own.values())])


def _copied(tree: Mapping[str, Any]) -> tuple[dict[str, Tensor], str]:
    """A copy of each tensor, wide numbers first so that all are aligned in the file, and the rest of the tree as words.

    Copied, because asking a tensor for its memory would break its seal.
    """
    tensors: dict[str, Tensor] = {}
    plain = _taken_apart(tree, "", tensors)
    _refuse_deep(plain)
    wide_first = sorted(tensors.items(), key=lambda pair: (-pair[1].element_size(), pair[0]))
    copies = {name: t.detach().cpu().clone(memory_format=torch.contiguous_format) for name, t in wide_first}
    return copies, json.dumps(plain)


def _preface(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """What a safetensors file begins with: the length of its header, and the header."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name, tensor in tensors.items():
        begin, end = end, end + tensor.nbytes
        header[name] = {"dtype": _spelt(tensor.dtype), "shape": list(tensor.shape), "data_offsets": [begin, end]}
    words = json.dumps(header, separators=(",", ":")).encode()
    words += b" " * (-len(words) % 8)
    return len(words).to_bytes(8, "little") + words


@cache
def _spelt(dtype: torch.dtype) -> str:
    """What safetensors calls a type: it is asked, since it has no table of them that is public."""
    said = re.search(rb'"dtype":"(\w+)"', save({"x": torch.empty(0, dtype=dtype)}))
    assert said is not None
    return said[1].decode()


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.reshape(-1).view(torch.uint8).numpy().data


def fingerprint(tree: Mapping[str, Any]) -> str:
    """A digest of the tree's words and tensors: equal for equal trees, which the bytes of two files need not be."""
    tensors: dict[str, Tensor] = {}
    plain = _taken_apart(tree, "", tensors)
    return _metadata(tensors, json.dumps(plain))["digest"]


def decode(content: bytes, origin: str = "the checkpoint") -> dict[str, Any]:
    """The tree that `encode` packed; `origin` is what errors call it."""
    return _decoded(lambda: (opened(content), _header(content)), origin)


def _decoded(take: Callable[[], tuple[dict[str, Tensor], dict[str, str]]], origin: str) -> dict[str, Any]:
    try:
        tensors, header = take()
    except ValueError as error:
        raise InputError(f"{origin} is not a readable checkpoint ({error}); delete it to start afresh") from error
    if header.get("format") != FORMAT:
        raise InputError(
            f"{origin} was not written by this version of sapwood: its format is "
            f"{header.get('format')!r}, not {FORMAT!r}; delete it to start afresh"
        )
    if header != _metadata(tensors, header.get("tree", ""), copies=True):
        raise InputError(f"{origin} is damaged: its content does not match its digest; delete it to start afresh")
    try:
        return _tree(header["tree"], tensors)
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"{origin} does not hold what its format says ({schema.brief(error)}); delete it to start afresh"
        ) from error


def opened(content: bytes) -> dict[str, Tensor]:
    """The tensors of a safetensors file; ValueError if it is none, whatever it is."""
    with _in_words():
        return load(content)


def _mapped(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file, which stay in it, and its own words."""
    with _in_words(), safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118


@contextmanager
def _in_words() -> Iterator[None]:
    try:
        yield
    except (SafetensorError, OSError, RuntimeError, KeyError, TypeError, OverflowError, AssertionError) as error:
        raise ValueError(f"{disk.reason(error)}".partition("\n")[0]) from error


def refuse_half_truths(tensors: Mapping[str, Tensor]) -> None:
    """Bytes of a bool are 0 or 1: with others, torch gives answers that depend on the operator."""
    for name, tensor in tensors.items():
        if tensor.dtype is torch.bool and tensor.numel() and int(tensor.view(torch.uint8).max()) > 1:
            raise ValueError(f"{name!r} holds what is neither true nor false")


def _tree(words: str, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """What the words say, if they are the ones that `encode` would write for it, with every tensor once."""
    refuse_half_truths(tensors)
    tree = _put_together(schema.parse(words, finite=False), tensors)
    again: dict[str, Tensor] = {}
    if (
        not isinstance(tree, dict)
        or json.dumps(_taken_apart(tree, "", again)) != words
        or again.keys() != tensors.keys()
    ):
        raise ValueError("its words and its tensors do not belong together")
    return tree


def _refuse_deep(plain: Any) -> None:
    try:
        schema.sound(plain)
    except ValueError as error:
        raise InputError(f"a checkpoint cannot hold this: {error}; keep fewer dicts and lists in each other") from error


def _metadata(tensors: Mapping[str, Tensor], tree: str, *, copies: bool = False) -> dict[str, str]:
    """The header's entries, with a digest over the tensors and over the words."""
    words = torch.frombuffer(bytearray(tree.encode() or b" "), dtype=torch.uint8)
    return {"format": FORMAT, "tree": tree, "digest": digest({**tensors, "": words}, copies=copies).hex()}


def _header(content: bytes) -> dict[str, str]:
    """The file's own words: safetensors begins with the length of a JSON header, which has them as __metadata__."""
    length = int.from_bytes(content[:8], "little")
    metadata: dict[str, str] = schema.parse(content[8 : 8 + length]).get("__metadata__") or {}
    return metadata


def _taken_apart(value: Any, at: str, tensors: dict[str, Tensor]) -> Any:
    """The value with every tensor replaced by a reference to its name in `tensors`."""
    match value:
        case Tensor():
            refuse_sharded(value, f"write {at!r} to a file")
            name = at
            while name in tensors:  # {"a/b": x, "a": {"b": y}} has one path twice
                name += "#"
            tensors[name] = value
            return {TENSOR: name}
        case Mapping():
            pairs = [[_key(k, at), _taken_apart(v, f"{at}/{k}" if at else str(k), tensors)] for k, v in value.items()]
            return {MAP: pairs} if any(not isinstance(k, str) for k, _ in pairs) else dict(pairs)
        case tuple():
            return {TUPLE: [_taken_apart(v, f"{at}/{i}", tensors) for i, v in enumerate(value)]}
        case list():
            return [_taken_apart(v, f"{at}/{i}", tensors) for i, v in enumerate(value)]
        case None | bool() | int() | float() | str():
            return value
    raise InputError(
        f"a checkpoint cannot hold {at!r}: it is a {type(value).__name__}; "
        "keep tensors, numbers, strings, lists and dicts in run.memory"
    )


def _key(key: Any, at: str) -> str | int:
    if key in RESERVED:
        raise InputError(f"a checkpoint cannot hold the key {key!r} of {at!r}: it has a meaning there; rename it")
    if isinstance(key, (str, int)) and not isinstance(key, bool):
        return str(key) if isinstance(key, str) else key
    raise InputError(f"a checkpoint cannot hold the key {key!r} of {at!r}: use strings or integers")


def _put_together(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    match value:
        case {"__tensor__": name}:
            return tensors[name]
        case {"__tuple__": items}:
            return tuple(_put_together(v, tensors) for v in items)
        case {"__map__": pairs}:
            return {key: _put_together(v, tensors) for key, v in pairs}
        case dict():
            return {key: _put_together(v, tensors) for key, v in value.items()}
        case list():
            return [_put_together(v, tensors) for v in value]
    return value


def random_state(device: torch.device) -> dict[str, Tensor]:
    """The states of torch's random generators that training can read: the CPU's and the device's."""
    states = {"cpu": torch.get_rng_state()}
    return states | {"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else states


def restore_random_state(states: Mapping[str, Tensor], device: torch.device) -> None:
    """The generators as `random_state` found them."""
    try:
        torch.set_rng_state(states["cpu"])
        if "cuda" in states and device.type == "cuda":
            torch.cuda.set_rng_state(states["cuda"], device)
    except (RuntimeError, TypeError) as error:
        raise InputError(
            f"the checkpoint holds no state of torch's random generators ({error}); delete it to start afresh"
        ) from error
