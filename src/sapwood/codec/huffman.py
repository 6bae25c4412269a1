"""Huffman's code: a symbol's bits are the fewer the more often it comes; no code begins another.

    H <= bits per symbol < H + 1,    H = - sum_s p_s log2 p_s

Only the lengths are kept: codes are canonical, handed out in the order of (length, symbol). Ties are broken by symbol,
so that the same counts give the same bits everywhere. One symbol alone gets one bit.

*Paper:* Huffman 1952, "A method for the construction of minimum-redundancy codes"; Han, Mao, Dally, arXiv 1510.00149,
section 4. *Differs:* nothing known.
"""

import heapq

import numpy as np

from sapwood.codec.bits import Numbers, pack

LONGEST = 62  # bits of a code: such a one needs 10^13 symbols
BLOCK = 1 << 18  # bits that are looked at together while decoding


def code_lengths(counts: Numbers) -> Numbers:
    """Bits of each symbol's code from how often it comes; 0 where it does not come."""
    lengths = np.zeros(len(counts), np.int64)
    heap = [(int(counts[symbol]), int(symbol)) for symbol in np.flatnonzero(counts)]
    if len(heap) == 1:
        lengths[heap[0][1]] = 1
        return lengths
    heapq.heapify(heap)
    parts: dict[int, tuple[int, int]] = {}  # node -> the two that it was made of; symbols are nodes below len(counts)
    while len(heap) > 1:
        (one, first), (other, second) = heapq.heappop(heap), heapq.heappop(heap)
        node = len(counts) + len(parts)
        parts[node] = first, second
        heapq.heappush(heap, (one + other, node))
    depths = {heap[0][1]: 0} if heap else {}
    for node in sorted(parts, reverse=True):  # what was made last is nearest to the root
        depths |= dict.fromkeys(parts[node], depths.pop(node) + 1)
    lengths[list(depths)] = list(depths.values())
    return lengths


def codes(lengths: Numbers) -> Numbers:
    """The canonical code of each symbol, a number of lengths[symbol] bits; 0 where there is none."""
    found = np.zeros(len(lengths), np.int64)
    order = in_order(lengths)
    code = before = 0
    for symbol, length in zip(order.tolist(), lengths[order].tolist(), strict=True):
        code <<= length - before
        found[symbol], before = code, length
        code += 1
    return found


def in_order(lengths: Numbers) -> Numbers:
    """The symbols that have a code, by its length and then by themselves."""
    order: Numbers = np.argsort(lengths, kind="stable")
    return order[lengths[order] > 0]


def encode(symbols: Numbers, lengths: Numbers) -> bytes:
    """The symbols' codes, one after another."""
    return pack(codes(lengths)[symbols], lengths[symbols])


def decode(content: bytes, lengths: Numbers, count: int) -> Numbers:
    """`count` symbols; ValueError if the content does not hold so many, or no code has these lengths.

    What a code would be is worked out for every bit at once; then one walks from code to code.
    """
    _refuse_no_code(lengths)
    if count > 8 * len(content):
        raise ValueError(f"{count} symbols in {len(content)} bytes")
    order, longest = in_order(lengths), int(lengths.max(initial=1))
    left = codes(lengths)[order] << (longest - lengths[order])  # all of one length, and so in ascending order
    bits = np.concatenate([np.unpackbits(np.frombuffer(content, np.uint8)), np.zeros(longest, np.uint8)])
    found: list[Numbers] = []
    at = missing = 0
    for begin in range(0, len(bits) - longest, BLOCK):
        missing = count - sum(map(len, found))
        ranks = np.searchsorted(left, _windows(bits[begin : begin + BLOCK + longest], longest), side="right") - 1
        places, at = _walk(lengths[order][ranks], at, missing)
        found.append(order[ranks[places]])
    symbols = np.concatenate([*found, np.zeros(0, np.int64)])
    if len(symbols) < count:
        raise ValueError(f"{count} symbols, {len(symbols)} are there")
    return symbols


def entropy(counts: Numbers) -> float:
    """n H = sum_s c_s log2(n / c_s) bits: no code that treats symbols one by one needs fewer for all of them."""
    seen = counts[counts > 0].astype(np.float64)
    return float((seen * np.log2(seen.sum() / seen)).sum())


def _windows(bits: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], longest: int) -> Numbers:
    """The number that `longest` bits make, from each place on that has so many after it."""
    windows = np.zeros(len(bits) - longest, np.int64)
    for place in range(longest):
        windows = windows << 1 | bits[place : place + len(windows)]
    return windows


def _walk(steps: Numbers, at: int, most: int) -> tuple[list[int], int]:
    """Where codes begin, `most` of them at most, and how far into the next block the last one reaches."""
    lengths, places = steps.data, list[int]()
    while at < len(lengths) and len(places) < most:
        places.append(at)
        at += lengths[at]
    return places, at - len(lengths)


def _refuse_no_code(lengths: Numbers) -> None:
    used = [length for length in lengths.tolist() if length]
    longest = max(used, default=0)
    if longest > LONGEST or sum(1 << (longest - length) for length in used) > 1 << longest:
        raise ValueError("no code has these lengths")
