"""File: what a .swz file is, whatever it holds: 30 bytes, words as JSON, streams; refused unless whole.

8 bytes  89 53 57 5A 0D 0A 1A 0A: no text, and changed by whoever takes it for one
2        version of the format, least significant byte first, as all numbers
4        bytes of the words
16       BLAKE2b digest of all other bytes of the file
         words, a JSON object; then the streams that they describe, in their order, without anything between them
"""

import json
import struct
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from sapwood.errors import InputError

MAGIC = b"\x89SWZ\r\n\x1a\n"
VERSION = 2  # 1 had no adaptive codes; a file of version 1 is read as ever
HEAD = struct.Struct("<8sHI")
DIGEST = 16


def pack(words: Mapping[str, Any], streams: bytes) -> bytes:
    """The file's bytes."""
    text = json.dumps(words, separators=(",", ":")).encode()
    head = HEAD.pack(MAGIC, VERSION, len(text))
    return head + _digest(head, text + streams) + text + streams


def unpack(content: bytes, origin: str) -> tuple[dict[str, Any], bytes]:
    """The words and the streams; InputError, which calls the file `origin`, if they are not what was written."""
    begin = HEAD.size + DIGEST
    if content[: len(MAGIC)] != MAGIC[: len(content)] or not content:
        raise InputError(f"{origin} is no .swz file: it begins otherwise; give one that sapwood wrote")
    if len(content) < begin:
        raise InputError(f"{origin} was cut short: it has {len(content)} bytes, and {begin} come before its header")
    _, version, length = HEAD.unpack(content[: HEAD.size])
    if version > VERSION:
        raise InputError(
            f"{origin} has version {version} of its format and this sapwood reads up to {VERSION}; "
            "install a newer sapwood"
        )
    if length > len(content) - begin:
        raise InputError(
            f"{origin} was cut short or is damaged: its header should have {length} bytes, and {len(content) - begin} "
            "are left; copy or save it again"
        )
    if content[HEAD.size : begin] != _digest(content[: HEAD.size], content[begin:]):
        raise InputError(f"{origin} is damaged: its content does not match its digest; copy or save it again")
    return _words(content[begin : begin + length], origin), content[begin + length :]


def _words(text: bytes, origin: str) -> dict[str, Any]:
    try:
        words = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{origin} has no readable header ({error}); save it again") from error
    if not isinstance(words, dict):
        raise InputError(f"{origin} has a {type(words).__name__} for its header; save it again")
    return words


def _digest(head: bytes, rest: bytes) -> bytes:
    return blake2b(head + rest, digest_size=DIGEST).digest()
