"""Packed: tensors and words in one safetensors file, as bytes and back. Nothing is ever unpickled.

Any reader of safetensors finds the tensors under the parameters' own names; types that safetensors does not know are
there as bytes. The words are JSON in the file's header. A digest of both tells a damaged file from a good one.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from sapwood import schema
from sapwood.errors import InputError
from sapwood.processes import digest
from sapwood.training import checkpoint
from sapwood.training.checkpoint import _header

ENTRY = "sapwood-network"  # of the header
VERSION = 2  # of files with masks; those without are of version 1, which earlier versions read
PLAIN = (torch.float64, torch.float32, torch.float16, torch.bfloat16,
         torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)  # fmt: skip
# By name; `torch` itself is not asked, since it imports whole rooms at the mention of their names. Without those that
# are no plain numbers: quantised ones, and whole numbers of fewer than 8 bits.
TYPES = {
    name: kind
    for name, kind in (
        (str(kind).removeprefix("torch."), kind) for kind in vars(torch).values() if type(kind) is torch.dtype
    )
    if re.fullmatch(r"(complex|bfloat)\w+|float\w+|u?int(8|16|32|64)|bool", name)
}
ZIP = b"PK\3\4"  # how files of torch.save begin
ABOUT = schema.record({"version": schema.whole(1), "digest": schema.text, "words": schema.text})


def pack(tensors: Mapping[str, Tensor], words: Mapping[str, Any]) -> bytes:
    """The file's bytes; each tensor is stored in the order of its indices."""
    flat = {name: _stored(tensor) for name, tensor in tensors.items()}
    text = json.dumps(_in_json({**words, "types": {name: _named(t.dtype) for name, t in tensors.items()}}))
    about = {"version": VERSION if "masks" in words else 1, "digest": _digest(flat, text), "words": text}
    return save(flat, metadata={ENTRY: json.dumps(about)})  # one entry: several come in any order, in other bytes


def unpack(content: bytes, origin: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors (of foreign types: flat) and the words; InputError, which calls the file `origin`, if it is bad."""
    try:
        flat, header = checkpoint.opened(content), _header(content)
    except ValueError as error:
        if content[: len(ZIP)] == ZIP:
            raise InputError(
                f"{origin} is no whole safetensors file but one of torch.save; torch.load and load_state_dict read it "
                "into a network of its sizes; here give a file of sapwood.export.save"
            ) from error
        raise InputError(
            f"{origin} is no whole safetensors file ({error}); it was cut short, damaged or is something else: "
            "copy or save it again"
        ) from error
    if ENTRY not in header:
        what = "a run's checkpoint" if header.get("format") == checkpoint.FORMAT else "not written by sapwood.export"
        raise InputError(
            f"{origin} holds no network of sapwood: it is {what}; give a file that sapwood.export.save or "
            "`sapwood shrink` wrote"
        )
    try:
        words = _from_json(schema.parse(_sound(header[ENTRY], flat, origin), finite=False))
        schema.mapping(lambda value, where: None)(words, "what it says")
        types = words.pop("types", None)
        schema.mapping(schema.one_of(*TYPES))(types, "types")
        return {name: _restored(name, tensor, types) for name, tensor in flat.items()}, words
    except schema.Unexpected as error:
        raise not_as_said(origin, error) from error


def is_network(content: bytes) -> bool:
    """Whether a file says of itself that `pack` wrote it; nothing else of it is looked at."""
    try:
        return ENTRY in _header(content)
    except (ValueError, AttributeError, TypeError):
        return False


def not_as_said(origin: str, error: Exception) -> InputError:
    """The error for a file whose digest is right and whose words are not."""
    return InputError(f"{origin} does not hold what its format says ({schema.brief(error)}); save it again")


def _sound(entry: str, flat: Mapping[str, Tensor], origin: str) -> str:
    """The words as they were written."""
    about = schema.parse(entry)
    ABOUT(about, "it")
    if about["version"] > VERSION:
        raise InputError(
            f"{origin} has version {about['version']} of its format and this sapwood reads up to {VERSION}; "
            "install a newer sapwood"
        )
    text: str = about["words"]
    if about["digest"] != _digest(flat, text):
        raise InputError(f"{origin} is damaged: its content does not match its digest; copy or save it again")
    return text


def _digest(flat: Mapping[str, Tensor], text: str) -> str:
    words = torch.frombuffer(bytearray(text.encode() or b" "), dtype=torch.uint8)
    return digest({**flat, "": words}).hex()


def _stored(tensor: Tensor) -> Tensor:
    whole = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    return whole if tensor.dtype in PLAIN else whole.reshape(-1).view(torch.uint8)


def _restored(name: str, tensor: Tensor, types: Mapping[str, str]) -> Tensor:
    """A tensor that is there as what it is, or as bytes because safetensors does not know its type."""
    dtype = TYPES[types.get(name, "")] if name in types else None
    foreign = tensor.dtype is torch.uint8 and tensor.dim() == 1 and dtype not in PLAIN and dtype is not None
    if not foreign or dtype is None:
        schema.demand(tensor.dtype is dtype, f"types[{name!r}]", types.get(name), _named(tensor.dtype))
        return tensor
    schema.demand(tensor.numel() % dtype.itemsize == 0, f"types[{name!r}]", types[name], "what its bytes can be")
    return tensor.view(dtype)


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
