"""Places: where in a tensor there is anything: a bit or a decision for each place, sparse rows, gaps between them.

A tensor is read row by row, one row for each output, or column by column: places are counted along the way, from 0.
"""

from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import NamedTuple

import numpy as np

from sapwood.codec import mask, stream
from sapwood.codec.bits import Numbers
from sapwood.codec.stream import ADAPTIVE, CONTEXTS, Coders, Stream, Written


class Layout(NamedTuple):
    """How places are written, (places, shape, coders) -> (streams, the places and any fillers), and found again."""

    write: Callable[[Numbers, tuple[int, int], Coders], tuple[list[Written], Numbers]]
    read: Callable[[Sequence[Stream], Sequence[bytes], int], Numbers]
    streams: int
    coder: str | None = None  # without which it is only taken when asked for


def gaps(places: Numbers, reach: int) -> tuple[Numbers, Numbers]:
    """The steps to each place from the one before (the first from -1), and the places with *fillers* among them.

    A step longer than `reach` is made by way of fillers: places at which there is nothing, whose value is 0.

    *Paper:* Han, Mao, Dally, arXiv 1510.00149, section 2 and figure 2. *Differs:* gaps run on from row to row.
    """
    steps = np.diff(places, prepend=-1)
    fillers = (steps - 1) // reach
    found = np.full(len(steps) + int(fillers.sum()), reach)
    found[np.cumsum(fillers + 1) - 1] = (steps - 1) % reach + 1
    return found, np.cumsum(found) - 1


def _write_gaps(reach: int, places: Numbers, shape: tuple[int, int], coders: Coders) -> tuple[list[Written], Numbers]:
    steps, filled = gaps(places, reach)
    return [stream.write(steps - 1, reach, coders=coders)], filled


def _read_gaps(streams: Sequence[Stream], parts: Sequence[bytes], entries: int) -> Numbers:
    return np.cumsum(stream.read(streams[0], parts[0]) + 1) - 1


def _write_mask(places: Numbers, shape: tuple[int, int], coders: Coders) -> tuple[list[Written], Numbers]:
    bits = np.zeros(prod(shape), np.int64)
    bits[places] = 1
    return [stream.write(bits, 2, coders=())], places


def _read_mask(streams: Sequence[Stream], parts: Sequence[bytes], entries: int) -> Numbers:
    return np.flatnonzero(stream.read(streams[0], parts[0]))


def _write_csr(places: Numbers, shape: tuple[int, int], coders: Coders) -> tuple[list[Written], Numbers]:
    """How many there are in each row, and their columns."""
    rows, columns = shape
    counts = np.bincount(places // max(1, columns), minlength=rows)
    written = [(counts, int(counts.max(initial=0)) + 1), (places % max(1, columns), columns)]
    return [stream.write(numbers, alphabet, coders=coders) for numbers, alphabet in written], places


def _read_csr(streams: Sequence[Stream], parts: Sequence[bytes], entries: int) -> Numbers:
    counts, columns = (stream.read(*each) for each in zip(streams, parts, strict=True))
    if counts.sum() != len(columns):
        raise ValueError(f"{len(columns)} columns for rows of {counts.sum()}")
    width = entries // max(1, len(counts))
    return np.repeat(np.arange(len(counts)) * width, counts) + columns


def _write_contexts(places: Numbers, shape: tuple[int, int], coders: Coders) -> tuple[list[Written], Numbers]:
    """How many columns there are stands where other streams have their alphabet."""
    content, entropy = mask.encode(places, *shape)
    return [stream.of_decisions(CONTEXTS, max(1, shape[1]), len(places), content, entropy)], places


def _read_contexts(streams: Sequence[Stream], parts: Sequence[bytes], entries: int) -> Numbers:
    if streams[0].coding != CONTEXTS:
        raise ValueError(f"coding {streams[0].coding!r}")
    return mask.decode(parts[0], entries, streams[0].alphabet, streams[0].length)


def _write_dense(places: Numbers, shape: tuple[int, int], coders: Coders) -> tuple[list[Written], Numbers]:
    return [], np.arange(prod(shape))


def _read_dense(streams: Sequence[Stream], parts: Sequence[bytes], entries: int) -> Numbers:
    return np.arange(entries)


LAYOUTS = {
    "dense": Layout(_write_dense, _read_dense, 0),
    "bitmask": Layout(_write_mask, _read_mask, 1),
    "csr": Layout(_write_csr, _read_csr, 2),
    "adaptive mask": Layout(_write_contexts, _read_contexts, 1, ADAPTIVE),
    "gaps of 5 bits": Layout(partial(_write_gaps, 1 << 5), _read_gaps, 1),
    "gaps of 8 bits": Layout(partial(_write_gaps, 1 << 8), _read_gaps, 1),
}
