"""idx: the file format of MNIST and its relatives, read into tensors.

Bytes 0, 0, a type code, the number of dimensions; each dimension as big-endian uint32; then the values, big-endian too,
the last dimension running fastest.
A file may be gzipped, which its first two bytes tell; one called `.gz` must be.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sapwood.errors import InputError

GZIP = b"\x1f\x8b"
TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}  # type code -> values on disk


def read(path: Path | str) -> Tensor:
    """The array in an idx file, plain or gzipped, in its own shape and type."""
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
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
    try:
        return gzip.decompress(raw)
    except (EOFError, OSError, zlib.error) as error:
        raise InputError(f"{source} is damaged gzip data ({error}); fetch it again") from error


def _header(plain: bytes, source: str) -> tuple[np.dtype[np.generic], tuple[int, ...]]:
    """The type of the values and their shape."""
    if len(plain) < 4:
        raise InputError(f"{source} is truncated: {len(plain)} bytes, an idx header has at least 4; fetch it again")
    code, dimensions = plain[2], plain[3]
    if plain[:2] != b"\0\0" or code not in TYPES:
        raise InputError(f"{source} is not an idx file: it starts with {plain[:4]!r}, not 0, 0, a type code")
    if len(plain) < 4 + 4 * dimensions:
        raise InputError(f"{source} is truncated: its header promises {dimensions} dimensions; fetch it again")
    return np.dtype(TYPES[code]), struct.unpack_from(f">{dimensions}I", plain, 4)
