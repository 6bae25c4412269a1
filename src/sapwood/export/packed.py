"""Packed: tensors and words in one safetensors file, as bytes and back. Nothing is ever unpickled.

Any reader of safetensors finds the tensors under the parameters' own names; types that safetensors does not know are
there as bytes. The words are JSON in the file's header. A digest of both tells a damaged file from a good one.
"""

import json
from collections.abc import Mapping
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from sapwood import checkpoint
from sapwood.errors import InputError
from sapwood.processes import digest

ENTRY = "sapwood-network"  # of the header
VERSION = 1
PLAIN = (torch.float64, torch.float32, torch.float16, torch.bfloat16,
         torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)  # fmt: skip


def pack(tensors: Mapping[str, Tensor], words: Mapping[str, Any]) -> bytes:
    """The file's bytes; each tensor is stored in the order of its indices."""
    flat = {name: _stored(tensor) for name, tensor in tensors.items()}
    text = json.dumps(_in_json({**words, "types": {name: _named(t.dtype) for name, t in tensors.items()}}))
    about = {"version": VERSION, "digest": _digest(flat, text), "words": text}
    return save(flat, metadata={ENTRY: json.dumps(about)})  # one entry: several come in any order, in other bytes


def unpack(content: bytes, origin: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors (of foreign types: flat) and the words; InputError, which calls the file `origin`, if it is bad."""
    try:
        flat, header = load(content), _header(content)
        about = json.loads(header[ENTRY]) if ENTRY in header else None
    except (SafetensorError, ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"{origin} is no whole safetensors file ({error}); it was cut short, damaged or is something else: "
            "copy or save it again"
        ) from error
    if about is None:
        what = "a run's checkpoint" if header.get("format") == checkpoint.FORMAT else "not written by sapwood.export"
        raise InputError(
            f"{origin} holds no network of sapwood: it is {what}; give a file that sapwood.export.save or "
            "`sapwood shrink` wrote"
        )
    words: dict[str, Any] = _from_json(json.loads(_sound(about, flat, origin)))
    types = words.pop("types")
    return {name: _restored(tensor, getattr(torch, types[name])) for name, tensor in flat.items()}, words


def _sound(about: Mapping[str, Any], flat: Mapping[str, Tensor], origin: str) -> str:
    """The words as they were written."""
    if type(about["version"]) is int and about["version"] > VERSION:
        raise InputError(
            f"{origin} has version {about['version']} of its format and this sapwood reads up to {VERSION}; "
            "install a newer sapwood"
        )
    text = str(about["words"])
    if about["digest"] != _digest(flat, text):
        raise InputError(f"{origin} is damaged: its content does not match its digest; copy or save it again")
    return text


def _header(content: bytes) -> dict[str, str]:
    length = int.from_bytes(content[:8], "little")
    metadata: dict[str, str] = json.loads(content[8 : 8 + length]).get("__metadata__") or {}
    return metadata


def _digest(flat: Mapping[str, Tensor], text: str) -> str:
    words = torch.frombuffer(bytearray(text.encode() or b" "), dtype=torch.uint8)
    return digest({**flat, "": words}).hex()


def _stored(tensor: Tensor) -> Tensor:
    whole = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    return whole if tensor.dtype in PLAIN else whole.reshape(-1).view(torch.uint8)


def _restored(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor if tensor.dtype is dtype else tensor.view(dtype)


def _named(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _in_json(value: Any) -> Any:
    """JSON has no tuples: {"tuple": [...]} is one, so no dict with that key alone may be."""
    if isinstance(value, tuple):
        return {"tuple": [_in_json(part) for part in value]}
    if isinstance(value, list):
        return [_in_json(part) for part in value]
    return {str(key): _in_json(part) for key, part in value.items()} if isinstance(value, Mapping) else value


def _from_json(value: Any) -> Any:
    if isinstance(value, list):
        return [_from_json(part) for part in value]
    if isinstance(value, dict) and list(value) == ["tuple"] and isinstance(value["tuple"], list):
        return tuple(_from_json(part) for part in value["tuple"])
    return {key: _from_json(part) for key, part in value.items()} if isinstance(value, dict) else value
