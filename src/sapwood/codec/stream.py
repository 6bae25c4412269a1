"""Stream: symbols of one kind, as bits that are described by four things in the file's header."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from sapwood.codec import huffman
from sapwood.codec.bits import Numbers, pack, unpack, width_of

HUFFMAN, FIXED, RAW = "huffman", "fixed", "raw"
LENGTH = huffman.LONGEST.bit_length()  # bits of an entry in a table of code lengths, at most


class Stream(NamedTuple):
    """How `length` symbols in [0, alphabet) are written: all with equally many bits, or by Huffman's code.

    "raw": `length` of what the tensor has, as in memory, least significant byte first; the alphabet is then 0.
    """

    coding: str
    alphabet: int
    length: int
    size: int  # bytes


class Written(NamedTuple):
    """A stream, how its bytes are made, and how few they could be. Its size is known before it is made."""

    stream: Stream
    pack: Callable[[], bytes]
    coded: int = 0  # bits, without the table of code lengths; 0 of what is not Huffman's
    entropy: float = 0.0  # bits


def write(symbols: Numbers, alphabet: int, *, entropy: bool = True) -> Written:
    """The symbols by the shorter of both codings, tables counted; without `entropy` with equally many bits each."""
    plain = _fixed(symbols, alphabet)
    counts = np.bincount(symbols, minlength=alphabet)
    if not entropy or plain.stream.size <= huffman.entropy(counts) / 8:  # no code can be shorter
        return plain
    coded = _huffman(symbols, counts)
    return coded if coded.stream.size < plain.stream.size else plain


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
    stream = Stream(HUFFMAN, len(counts), len(symbols), 1 + _bytes(width * len(counts)) + _bytes(coded))

    def content() -> bytes:
        return bytes([width]) + pack(lengths, np.full_like(lengths, width)) + huffman.encode(symbols, lengths)

    return Written(stream, content, coded, huffman.entropy(counts))


def _bytes(bits: int) -> int:
    return -(-bits // 8)
