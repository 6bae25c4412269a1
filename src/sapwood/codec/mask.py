"""Mask: where a matrix has anything, a decision for each place, each as dear as it was unlikely after those before it.

    level = whole bits of 64 k w,    context of a place = (level, how many of the two places before it hold something)
    k: (2 its column's count above it + 1) / (2 a mean column's + 1);    w: the same of its row's places before it

Rows and columns of a pruned layer differ: inputs that show nothing, neurons that have died. What was counted so far
says so, and the decoder has counted it too, so that nothing of it is written.

*Paper:* Rissanen and Langdon 1981, "Universal modeling and coding" (contexts). *Differs:* these contexts are our own.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable

import numpy as np

from sapwood.codec import huffman
from sapwood.codec.arithmetic import Decoder, Encoder, Odds, fresh
from sapwood.codec.bits import Numbers

Decide = Callable[[int, Odds], int]  # the decision about a place, from the odds of its context
SCALE = 6  # bits that a level has where everything is as in the mean


def encode(places: Numbers, rows: int, columns: int) -> tuple[bytes, float]:
    """The places, ascending, of a matrix read row by row; and n H of each context's decisions, added up, in bits."""
    encoder, there = Encoder(), set(places.tolist())
    counts = defaultdict[int, list[int]](lambda: [0, 0])

    def decide(place: int, odds: Odds) -> int:
        bit = int(place in there)
        encoder.write(bit, odds)
        counts[id(odds)][bit] += 1
        return bit

    _walk(rows, columns, len(places), decide)
    return encoder.finish(), sum(huffman.entropy(np.array(each)) for each in counts.values())


def decode(content: Iterable[int], entries: int, columns: int, count: int) -> Numbers:
    """`count` places; ValueError if the matrix has not so many rows and columns, or fewer places, or bytes are left."""
    if columns not in range(1, max(1, entries) + 1) or entries % columns:
        raise ValueError(f"{columns} columns of {entries} entries")
    decoder, found = Decoder(content), list[int]()

    def decide(place: int, odds: Odds) -> int:
        bit = decoder.read(odds)
        if bit:
            found.append(place)
        return bit

    _walk(entries // columns, columns, count, decide)
    decoder.end()
    if len(found) < count:
        raise ValueError(f"{count} places, {len(found)} are there")
    return np.array(found, np.int64)


def _walk(rows: int, columns: int, count: int, decide: Decide) -> None:
    """Ask about place after place until `count` of them hold something; the odds are those of its context."""
    contexts, above, total = defaultdict[tuple[int, int], Odds](fresh), [0] * columns, 0
    for row in range(rows if count else 0):
        before = last = other = 0
        for column in range(columns):
            seen = row * columns + column + 1
            likely = (2 * above[column] + 1) * (2 * before + 1) * columns * seen << SCALE
            level = (likely // ((2 * total + columns) * (2 * total * (column + 1) + seen))).bit_length()
            bit = decide(seen - 1, contexts[level, last + other])
            last, other = bit, last
            if bit:
                above[column], before, total = above[column] + 1, before + 1, total + 1
                if total == count:
                    return
