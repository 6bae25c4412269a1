"""Arithmetic coding: yes-or-no decisions one after another, each as dear as it was unlikely, and no table of codes.

    bits of a decision = -log2((n_b + 1/2) / (n_0 + n_1 + 1)),  n_b: how often its context has decided b so far

Encoder and decoder count alike, so only the decisions are in the bytes. All numbers are whole ones: the bytes are the
same on every machine. The decoder takes them one by one, and keeps none.

*Paper:* Martin 1979, "Range encoding" (the interval); Krichevsky and Trofimov 1981, "The performance of universal
encoding" (the estimate). *Differs:* counts are halved at `MOST`, so that a context can change its mind; zero bytes at
the end are left out.
"""

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
import torch

from sapwood.codec.bits import Numbers, width_of

WHOLE, LEAST = 1 << 32, 1 << 24  # widths of the interval: at first, and below which a byte moves out
BYTES = 4  # of the interval
MOST = 1 << 16  # of the two odds together: LEAST / MOST leaves each decision 256 steps or more
WIDEST = 62  # bits of a symbol
Odds = list[int]  # [2 n_0 + 1, 2 n_1 + 1] of one context; both coders change it


def fresh() -> Odds:
    """The odds of a context in which nothing has been decided."""
    return [1, 1]


class Encoder:
    """Narrows an interval by every decision; `finish` gives the shortest bytes that lie in it."""

    def __init__(self) -> None:
        self._low, self._width, self._out = 0, WHOLE, bytearray()

    def write(self, bit: int, odds: Odds) -> None:
        """One decision in a context, whose odds it changes."""
        no = self._width * odds[0] // (odds[0] + odds[1])
        if bit:
            self._add(no)
            self._width -= no
        else:
            self._width = no
        _count(odds, bit)
        while self._width < LEAST:
            self._out.append(self._low >> 24)
            self._low, self._width = self._low << 8 & WHOLE - 1, self._width << 8

    def finish(self) -> bytes:
        """All bytes, the last of them no 0."""
        for kept in range(BYTES + 1):
            step = WHOLE >> 8 * kept
            more = -self._low % step
            if more < self._width:
                self._add(more)
                break
        return bytes(self._out + self._low.to_bytes(BYTES, "big")).rstrip(b"\0")

    def _add(self, more: int) -> None:
        """Raise the interval's lower end, by way of bytes that have moved out already."""
        self._low += more
        if self._low >= WHOLE:
            self._low -= WHOLE
            at = len(self._out) - 1
            while self._out[at] == 255:
                self._out[at] = 0
                at -= 1
            self._out[at] += 1


class Decoder:
    """Finds the decisions again, from the same odds; takes bytes from `content` as it needs them."""

    def __init__(self, content: Iterable[int]) -> None:
        self._bytes, self._width = iter(content), WHOLE
        self._code = int.from_bytes(next(self._bytes, 0) for _ in range(BYTES))

    def read(self, odds: Odds) -> int:
        """The next decision, made in this context, whose odds it changes. Any bytes are decisions."""
        no = self._width * odds[0] // (odds[0] + odds[1])
        bit = int(self._code >= no)
        if bit:
            self._code -= no
            self._width -= no
        else:
            self._width = no
        _count(odds, bit)
        while self._width < LEAST:
            self._code, self._width = self._code << 8 | next(self._bytes, 0), self._width << 8
        return bit

    def end(self) -> None:
        """ValueError if bytes are left, which no encoder has written."""
        if next(self._bytes, None) is not None:
            raise ValueError("more bytes than its decisions have")


def _count(odds: Odds, bit: int) -> None:
    odds[bit] += 2
    if odds[0] + odds[1] > MOST:
        odds[:] = odds[0] >> 1 | 1, odds[1] >> 1 | 1


def encode(symbols: Iterable[int], alphabet: int) -> bytes:
    """Symbols in [0, alphabet), digit by binary digit, the highest first; a digit's context is the digits before it."""
    encoder, odds, width = Encoder(), defaultdict[int, Odds](fresh), width_of(alphabet)
    for symbol in symbols:
        node = 1
        for place in range(width - 1, -1, -1):
            bit = symbol >> place & 1
            encoder.write(bit, odds[node])
            node = node << 1 | bit
    return encoder.finish()


def decode(content: Iterable[int], alphabet: int, count: int) -> Numbers:
    """`count` symbols; ValueError if one is not below `alphabet`, or bytes are left."""
    decoder, odds, width = Decoder(content), defaultdict[int, Odds](fresh), width_of(alphabet)
    if width > WIDEST:
        raise ValueError(f"an alphabet of {alphabet}")
    symbols = np.zeros(count, np.int64)
    for number in range(count):
        node = 1
        for _ in range(width):
            node = node << 1 | decoder.read(odds[node])
        symbols[number] = node - (1 << width)
    decoder.end()
    return symbols


def decided(counts: Numbers) -> Numbers:
    """[contexts, 2]: how often `encode` decides 0 and 1 in each context, if symbols come so often."""
    found, counts = [], np.pad(counts, (0, (1 << width_of(len(counts))) - len(counts)))
    while len(counts) > 1:
        found.append(counts.reshape(-1, 2))
        counts = counts.reshape(-1, 2).sum(1)
    return np.concatenate([*found, np.zeros((0, 2), np.int64)])


def ideal(decided: Numbers) -> float:
    """Bits of decisions counted [contexts, 2], before any rounding and halving: what `encode` comes to, and no less.

    sum over contexts of -log2(Γ(n_0 + 1/2) Γ(n_1 + 1/2) / (π Γ(n_0 + n_1 + 1)))
    """
    n = torch.from_numpy(decided).double()
    nats = torch.lgamma(n.sum(1) + 1) - torch.lgamma(n + 0.5).sum(1) + np.log(np.pi)
    return float(nats.sum()) / float(np.log(2))
