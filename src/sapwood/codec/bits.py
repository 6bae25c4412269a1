"""Bits: whole numbers one after another, each with as many bits as it needs, the most significant bit first."""

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]


def width_of(alphabet: int) -> int:
    """Bits of a number in [0, alphabet) when all of them get equally many; 0 where there is no choice."""
    return max(0, alphabet - 1).bit_length()


def pack(values: Numbers, widths: Numbers) -> bytes:
    """The lowest widths[i] bits of values[i], in order; zeros fill the last byte."""
    ends = np.cumsum(widths)
    begins = ends - widths
    bits = np.zeros(int(ends[-1]) if len(ends) else 0, np.uint8)
    for place in range(int(widths.max(initial=0))):  # from the left: all numbers that have so many bits at once
        there = widths > place
        bits[begins[there] + place] = values[there] >> (widths[there] - 1 - place) & 1
    return np.packbits(bits).tobytes()


def unpack(content: bytes, width: int, count: int) -> Numbers:
    """`count` numbers of `width` bits each."""
    if 8 * len(content) < width * count:
        raise ValueError(f"{count} numbers of {width} bits in {len(content)} bytes")
    bits = np.unpackbits(np.frombuffer(content, np.uint8), count=width * count).reshape(count, width)
    numbers = np.zeros(count, np.int64)
    for column in bits.T:
        numbers = numbers << 1 | column
    return numbers
