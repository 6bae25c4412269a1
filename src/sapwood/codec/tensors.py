"""Tensors: one tensor as streams and back, bit by bit: where there is something, and what is there.

"Something" is whatever is not all zero bits: -0.0 is, and comes back. What is there is written as it is, or, where few
different values occur, as a *codebook* of these and an index for each: the fewer, the shorter, none of them changed.
"""

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sapwood.codec import huffman, stream
from sapwood.codec.places import LAYOUTS
from sapwood.codec.stream import CODERS, DECISIONS, RAW, Coders, Stream, Written

Bits = NDArray[Any]  # a tensor's numbers as unsigned whole ones of the same bits
BOOK = 1 << 16  # entries of a codebook, at most
ORDERS = ("rows", "columns")
FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)
TYPES = {str(dtype).removeprefix("torch."): dtype for dtype in (*FLOATS, *WHOLE)}


class Coded(NamedTuple):
    """A tensor as it is in the file: `streams` say where, then what."""

    type: str
    shape: tuple[int, ...]
    layout: str
    order: str  # "rows": as its indices run; "columns": of the matrix [first dimension, all others], the other way
    streams: tuple[Written, ...]

    @property
    def size(self) -> int:
        """Bytes of the streams."""
        return sum(each.stream.size for each in self.streams)

    def said(self) -> list[Any]:
        """What the file's header says of it."""
        return [self.type, list(self.shape), self.layout, self.order, *(list(each.stream) for each in self.streams)]


def encode(tensor: Tensor, *, layout: str | None = None, coders: Coders = CODERS) -> Coded:
    """The tensor in as few bytes as the layouts allow, or in this one."""
    name, shape = str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape)
    matrix = _matrix(tensor)
    tried = [
        Coded(name, shape, each, order, tuple(_streams(matrix if order == "rows" else matrix.T, each, coders)))
        for each in (_layouts(matrix.size, coders) if layout is None else (layout,))
        for order in (ORDERS if min(matrix.shape) > 1 and each != "dense" else ORDERS[:1])
    ]
    best = min(tried, key=lambda coded: coded.size)
    return best._replace(streams=tuple(map(stream.settled, best.streams)))


def _layouts(entries: int, coders: Coders) -> list[str]:
    """The layouts to try; one that codes a decision for every place is slow, so large tensors go without it."""
    return [
        name for name, each in LAYOUTS.items() if each.coder is None or (each.coder in coders and entries <= DECISIONS)
    ]


def decode(said: Sequence[Any], parts: Sequence[bytes]) -> Tensor:
    """The tensor of which the header says this, from its streams' bytes; ValueError and the like if it cannot be."""
    (name, shape, layout, order), streams = said[:4], [Stream(*each) for each in said[4:]]
    dtype, entries = TYPES[name], prod(shape)
    if any(each.length not in range(max(entries, 1) + 1) for each in streams):
        raise ValueError(f"more symbols than the {entries} entries")
    where = LAYOUTS[layout]
    places = where.read(streams[: where.streams], parts[: where.streams], entries)
    values = _read_values(streams[where.streams :], parts[where.streams :], f"<u{dtype.itemsize}")
    if len(values) != len(places) or (np.diff(places, prepend=-1, append=entries) < 1).any():
        raise ValueError(f"{len(values)} values for {len(places)} places of {entries}, in ascending order")
    lying = np.zeros(entries, values.dtype)
    lying[places] = values
    if order == "columns":
        lying = np.ascontiguousarray(lying.reshape(-1, shape[0]).T)
    tensor = torch.empty(entries, dtype=dtype)
    tensor.view(torch.uint8).numpy().view(f"=u{dtype.itemsize}")[:] = lying.reshape(-1)
    return tensor.reshape(shape)


def _matrix(tensor: Tensor) -> Bits:
    """[first dimension, all others]; what has fewer than two, or nothing in it, is one row."""
    flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().view(f"=u{tensor.dtype.itemsize}")
    rows = tensor.shape[0] if tensor.dim() > 1 and flat.size else 1
    return flat.reshape(rows, flat.size // rows)


def _streams(matrix: Bits, layout: str, coders: Coders) -> Iterator[Written]:
    flat = matrix.reshape(-1)
    rows, columns = matrix.shape
    written, places = LAYOUTS[layout].write(np.flatnonzero(flat), (rows, columns), coders)
    yield from written
    yield from _values(flat[places], coders)


def _values(values: Bits, coders: Coders) -> list[Written]:
    """As they are, or by a codebook if that takes fewer bytes."""
    plain = [_raw(values)]
    if len(np.unique(values[: 2 * BOOK])) > BOOK:  # spares sorting all of them
        return plain
    book, counts = np.unique(values, return_counts=True)
    if len(book) > BOOK or book.nbytes + huffman.entropy(counts) / 8 >= values.nbytes:  # no code can make up for it
        return plain
    shared = [_raw(book), stream.write(np.searchsorted(book, values), len(book), coders=coders)]
    return min(plain, shared, key=lambda streams: sum(each.stream.size for each in streams))


def _raw(values: Bits) -> Written:
    lying = values.astype(values.dtype.newbyteorder("<"))
    return Written(Stream(RAW, 0, len(values), lying.nbytes), lying.tobytes)


def _read_values(streams: Sequence[Stream], parts: Sequence[bytes], type: str) -> Bits:
    if not streams or streams[0].coding != RAW:
        raise ValueError("no values")
    book = np.frombuffer(parts[0], type)
    if len(book) != streams[0].length:
        raise ValueError(f"{len(book)} values instead of {streams[0].length}")
    return book if len(streams) == 1 else book[stream.read(streams[1], parts[1])]
