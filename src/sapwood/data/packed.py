"""Packed: what is in a file, packed with xz or not."""

import io
import lzma
from pathlib import Path
from typing import IO

from sapwood import disk
from sapwood.errors import InputError


def unpacked(path: Path, most: int) -> bytes:
    """Return the file's content, unpacked if its name ends in .xz; more than `most` bytes of it are refused."""
    raw = disk.read(path, advice="fetch it again")
    if path.suffix != ".xz":
        return raw
    try:
        return within(lzma.LZMAFile(io.BytesIO(raw)), most)
    except (OSError, EOFError, ValueError, MemoryError, lzma.LZMAError) as error:
        raise InputError(f"cannot read {path}: {disk.reason(error)}; fetch it again") from error


def within(file: IO[bytes], most: int) -> bytes:
    """Return all of an open file; ValueError if that is more than `most` bytes."""
    content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it unpacks to more than {most} bytes")
    return content
