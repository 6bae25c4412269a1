"""idx: the file format of MNIST and its relatives, read into tensors.

Bytes 0, 0, a type code, the number of dimensions; each dimension as big-endian uint32; then the values, big-endian too,
the last dimension running fastest.
A file may be gzipped, which its first two bytes tell; one called `.gz` must be.
"""

import gzip
import io
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sapwood import disk
from sapwood.errors import InputError

GZIP = b"\x1f\x8b"
MOST = 32  # dimensions: as many as every NumPy has
CHUNK = 1 << 20  # bytes that are unpacked at once
TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}  # type code -> values on disk


def read(path: Path | str) -> Tensor:
    """The array in an idx file, plain or gzipped, in its own shape and type."""
    raw = disk.read(Path(path))
    if str(path).endswith(".gz") and not raw.startswith(GZIP):
        raise InputError(f"{path} is called .gz but is not gzip (it starts with {raw[:4]!r}); fetch it again")
    return decode(raw, source=str(path))


def decode(raw: bytes, *, source: str = "idx data") -> Tensor:
    """The array in the bytes of an idx file, plain or gzipped; `source` names them in errors."""
    plain = _unpack(raw, source) if raw.startswith(GZIP) else raw
    values, shape = _header(plain, source)
    start = 4 + 4 * len(shape)
    expected = math.prod(shape) * values.itemsize
    if len(plain) - start != expected:
        kind = "truncated" if len(plain) - start < expected else "too long"
        raise InputError(
            f"{source} is {kind}: shape {shape} of {values.newbyteorder('=')} needs {expected} bytes of values, "
            f"it holds {len(plain) - start}; fetch it again"
        )
    array = np.frombuffer(plain, values, offset=start).reshape(shape)
    return torch.from_numpy(array.astype(values.newbyteorder("=")))  # a copy: what frombuffer gives is read-only


def _unpack(raw: bytes, source: str) -> bytes:
    """What is packed; of what is longer than its own header says, no more than a byte too many."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(raw)) as file:
            plain = file.read(4 + 4 * MOST)
            values, shape = _header(plain, source)
            left = 4 + 4 * len(shape) + math.prod(shape) * values.itemsize + 1 - len(plain)
            parts = [plain]
            while left > 0 and (part := file.read(min(left, CHUNK))):
                parts.append(part)
                left -= len(part)
            return b"".join(parts)
    except (EOFError, OSError, zlib.error) as error:
        raise InputError(f"{source} is damaged gzip data ({error}); fetch it again") from error


def _header(plain: bytes, source: str) -> tuple[np.dtype[np.generic], tuple[int, ...]]:
    """The type of the values and their shape."""
    if len(plain) < 4:
        raise InputError(f"{source} is truncated: {len(plain)} bytes, an idx header has at least 4; fetch it again")
    code, dimensions = plain[2], plain[3]
    if plain[:2] != b"\0\0" or code not in TYPES:
        raise InputError(f"{source} is not an idx file: it starts with {plain[:4]!r}, not 0, 0, a type code")
    if dimensions > MOST:
        raise InputError(f"{source} has {dimensions} dimensions; {MOST} can be read: give an array with fewer")
    if len(plain) < 4 + 4 * dimensions:
        raise InputError(f"{source} is truncated: its header promises {dimensions} dimensions; fetch it again")
    values, shape = np.dtype(TYPES[code]), struct.unpack_from(f">{dimensions}I", plain, 4)
    if 0 in shape and math.prod(max(size, 1) for size in shape) * values.itemsize >= 2**63:  # no byte is missing there
        raise InputError(f"{source} cannot be an array: its header promises shape {shape}; fetch it again")
    return values, shape
