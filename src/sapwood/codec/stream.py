"""Stream: symbols of one kind, as bits that are described by four things in the file's header."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from sapwood.codec import arithmetic, huffman
from sapwood.codec.bits import Numbers, pack, unpack, width_of

HUFFMAN, ADAPTIVE, FIXED, RAW, CONTEXTS = "huffman", "adaptive", "fixed", "raw", "contexts"
CODERS = (HUFFMAN, ADAPTIVE)  # what may be tried beside equally many bits for each symbol
LENGTH = huffman.LONGEST.bit_length()  # bits of an entry in a table of code lengths, at most
DECISIONS = 1 << 18  # of the adaptive coder in one stream, at most: it makes about one in a microsecond


Coders = Sequence[str]


class Stream(NamedTuple):
    """How `length` symbols in [0, alphabet) are written: all with equally many bits, by Huffman's code, adaptively.

    "contexts": `length` places in rows of `alphabet` columns, as `mask` writes them.
    "raw": `length` of what the tensor has, as in memory, least significant byte first; the alphabet is then 0.
    """

    coding: str
    alphabet: int
    length: int
    size: int  # bytes


class Written(NamedTuple):
    """A stream, how its bytes are made, and how few they could be. Its size is known, or estimated, before that."""

    stream: Stream
    pack: Callable[[], bytes]
    coded: int = 0  # bits, without the table of code lengths; 0 where symbols have equally many
    entropy: float = 0.0  # bits
    table: int = 0  # bytes of the table of code lengths


def write(symbols: Numbers, alphabet: int, *, coders: Coders = CODERS) -> Written:
    """The symbols by the shortest of these coders, tables counted, or with equally many bits each; see `settled`."""
    shortest = _fixed(symbols, alphabet)
    counts = np.bincount(symbols, minlength=alphabet)
    bound = huffman.entropy(counts) / 8  # no code can be shorter
    if HUFFMAN in coders and bound < shortest.stream.size:
        shortest = min(shortest, _huffman(symbols, counts), key=_size)
    if ADAPTIVE in coders and bound < shortest.stream.size and width_of(alphabet) * len(symbols) <= DECISIONS:
        shortest = min(shortest, _adaptive(symbols, counts), key=_size)
    return shortest


def read(stream: Stream, content: bytes) -> Numbers:
    """The symbols of a stream; ValueError where it cannot be one."""
    if stream.coding == FIXED:
        symbols = unpack(content, width_of(stream.alphabet), stream.length)
    elif stream.coding == HUFFMAN:
        width = content[0]
        if not 1 <= width <= LENGTH:
            raise ValueError(f"lengths of {width} bits")
        table = 1 + _bytes(width * stream.alphabet)
        lengths = unpack(content[1:table], width, stream.alphabet)
        symbols = huffman.decode(content[table:], lengths, stream.length)
    elif stream.coding == ADAPTIVE:
        symbols = arithmetic.decode(content, stream.alphabet, stream.length)
    else:
        raise ValueError(f"coding {stream.coding!r}")
    if len(symbols) and int(symbols.max()) >= stream.alphabet:
        raise ValueError(f"symbol {symbols.max()} of {stream.alphabet}")
    return symbols


def _fixed(symbols: Numbers, alphabet: int) -> Written:
    width = width_of(alphabet)
    stream = Stream(FIXED, alphabet, len(symbols), _bytes(width * len(symbols)))
    return Written(stream, lambda: pack(symbols, np.full_like(symbols, width)))


def _huffman(symbols: Numbers, counts: Numbers) -> Written:
    """A byte that says how wide the table's entries are, the lengths of all symbols' codes, the codes."""
    lengths = huffman.code_lengths(counts)
    width, coded = int(lengths.max(initial=0)).bit_length(), int((counts * lengths).sum())
    table = 1 + _bytes(width * len(counts))
    stream = Stream(HUFFMAN, len(counts), len(symbols), table + _bytes(coded))

    def content() -> bytes:
        return bytes([width]) + pack(lengths, np.full_like(lengths, width)) + huffman.encode(symbols, lengths)

    return Written(stream, content, coded, huffman.entropy(counts), table)


def _adaptive(symbols: Numbers, counts: Numbers) -> Written:
    """Its size is an estimate until `settled`: two bytes for the end of the code, which may take fewer."""
    likely = int(arithmetic.ideal(arithmetic.decided(counts)) / 8) + 2
    stream = Stream(ADAPTIVE, len(counts), len(symbols), likely)
    return Written(
        stream, lambda: arithmetic.encode(symbols.tolist(), len(counts)), 8 * likely, huffman.entropy(counts)
    )


def settled(written: Written) -> Written:
    """The same with its size as it is: an adaptive code must be made to know that."""
    if written.stream.coding != ADAPTIVE:
        return written
    content = written.pack()
    return of_decisions(*written.stream[:3], content, written.entropy)


def of_decisions(coding: str, alphabet: int, length: int, content: bytes, entropy: float) -> Written:
    """What the arithmetic coder has written."""
    return Written(Stream(coding, alphabet, length, len(content)), lambda: content, 8 * len(content), entropy)


def _size(written: Written) -> int:
    return written.stream.size


def _bytes(bits: int) -> int:
    return -(-bits // 8)
