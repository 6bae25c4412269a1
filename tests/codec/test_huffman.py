"""Huffman's code: what was worked out by hand, the bounds of Shannon, the best there is, and back again."""

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sapwood.codec import huffman, stream
from sapwood.codec.bits import pack, unpack

COUNTS = st.lists(st.integers(0, 1_000), min_size=1, max_size=40)
SYMBOLS = st.lists(st.integers(0, 30), max_size=300)


def numbers(values):
    return np.array(values, dtype=np.int64)


def coded(counts):
    """Bits of all symbols together."""
    return int((numbers(counts) * huffman.code_lengths(numbers(counts))).sum())


def test_the_worked_example():
    counts = numbers([45, 13, 12, 16, 9, 5])
    assert huffman.code_lengths(counts).tolist() == [1, 3, 3, 3, 4, 4]
    assert coded(counts) == 224
    assert huffman.entropy(counts) / 100 == pytest.approx(2.21988, abs=5e-6)
    assert huffman.codes(numbers([1, 3, 3, 3, 4, 4])).tolist() == [0b0, 0b100, 0b101, 0b110, 0b1110, 0b1111]
    assert huffman.encode(numbers([0, 2, 5]), numbers([1, 3, 3, 3, 4, 4])) == bytes([0b01011111])


@given(COUNTS)
def test_its_mean_length_is_less_than_a_bit_above_the_entropy(counts):
    total, used = sum(counts), sum(count > 0 for count in counts)
    bound = huffman.entropy(numbers(counts))
    if used > 1:
        assert bound - 1e-6 <= coded(counts) < bound + total
    else:
        assert coded(counts) == total, "one symbol alone has one bit, its entropy is 0"
    assert [n > 0 for n in huffman.code_lengths(numbers(counts))] == [count > 0 for count in counts]


@given(COUNTS)
def test_no_code_begins_another(counts):
    lengths = huffman.code_lengths(numbers(counts))
    codes = huffman.codes(lengths)
    words = sorted(f"{code:0{n}b}" for code, n in zip(codes.tolist(), lengths.tolist(), strict=True) if n)
    assert all(not after.startswith(word) for word, after in pairwise(words))


@given(st.lists(st.integers(1, 50), min_size=2, max_size=5))
def test_no_other_code_is_shorter(counts):
    """All lengths that a code can have (Kraft) are tried."""
    lengths = product(range(1, len(counts)), repeat=len(counts))
    possible = [each for each in lengths if sum(2.0**-n for n in each) <= 1]
    assert coded(counts) == min(sum(c * n for c, n in zip(counts, each, strict=True)) for each in possible)


@given(SYMBOLS, st.sampled_from([8, 64, huffman.BLOCK]))
def test_what_is_decoded_is_what_was_encoded(symbols, block):
    given, lengths = numbers(symbols), huffman.code_lengths(np.bincount(numbers(symbols), minlength=31))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(huffman, "BLOCK", block)
        assert huffman.decode(huffman.encode(given, lengths), lengths, len(symbols)).tolist() == symbols


def test_the_longest_codes_come_back():
    """Counts like Fibonacci's numbers make the code as deep as it can be."""
    counts = [1, 1]
    while len(counts) < 40:
        counts.append(counts[-1] + counts[-2])
    lengths = huffman.code_lengths(numbers(counts))
    assert lengths.max() == 39
    symbols = numbers([*range(40), *range(39, -1, -1)])
    assert (huffman.decode(huffman.encode(symbols, lengths), lengths, 80) == symbols).all()


def test_many_symbols_come_back_across_blocks():
    symbols = np.random.default_rng(0).geometric(0.1, 200_000) - 1
    lengths = huffman.code_lengths(np.bincount(symbols))
    content = huffman.encode(symbols, lengths)
    assert 8 * len(content) > 2 * huffman.BLOCK
    assert (huffman.decode(content, lengths, len(symbols)) == symbols).all()
    assert (huffman.decode(content, lengths, 5) == symbols[:5]).all()


def test_ties_are_broken_by_symbol():
    assert huffman.code_lengths(numbers([1, 1, 1])).tolist() == [2, 2, 1]
    assert huffman.codes(numbers([2, 2, 1])).tolist() == [0b10, 0b11, 0]
    assert huffman.code_lengths(numbers([0, 7, 0])).tolist() == [0, 1, 0]
    assert huffman.code_lengths(numbers([0, 0])).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("content", "lengths", "count"),
    [(b"", [1, 1], 1), (b"\x00", [1, 1], 9), (b"\xff", [1, 2, 2], 5), (b"\x00", [1, 1, 1], 1), (b"\x00", [63], 1)],
)
def test_what_is_no_code_or_too_short_is_refused(content, lengths, count):
    with pytest.raises(ValueError, match=r"symbols|no code has these lengths"):
        huffman.decode(content, numbers(lengths), count)


@given(st.lists(st.tuples(st.integers(0, 2**62 - 1), st.integers(1, 62)), max_size=20))
def test_bits_are_written_one_after_another(pairs):
    values, widths = (numbers([pair[at] for pair in pairs]) for at in range(2))
    word = "".join(f"{value % 2**width:0{width}b}" for value, width in pairs)
    padded = word + "0" * (-len(word) % 8)
    assert pack(values, widths) == bytes(int(padded[at : at + 8], 2) for at in range(0, len(padded), 8))


@given(st.lists(st.integers(0, 2**13 - 1), max_size=50), st.integers(13, 20))
def test_numbers_of_one_width_come_back(values, width):
    assert unpack(pack(numbers(values), np.full(len(values), width)), width, len(values)).tolist() == values


@given(SYMBOLS, st.integers(31, 70), st.sampled_from([(), (stream.HUFFMAN,), stream.CODERS]))
@settings(max_examples=200)
def test_a_stream_comes_back_and_is_as_long_as_it_says(symbols, alphabet, coders):
    written = stream.settled(stream.write(numbers(symbols), alphabet, coders=coders))
    content = written.pack()
    assert len(content) == written.stream.size
    assert stream.read(written.stream, content).tolist() == symbols
    fixed = stream.write(numbers(symbols), alphabet, coders=()).stream
    assert written.stream.size <= fixed.size == -(-len(symbols) * (alphabet - 1).bit_length() // 8)
    assert written.coded >= written.entropy - 1e-6 or written.stream.coding == stream.ADAPTIVE


def test_a_stream_is_huffmans_where_that_is_shorter_tables_counted():
    rare = stream.write(numbers([0] * 900 + list(range(32)) * 3), 32, coders=(stream.HUFFMAN,))
    assert rare.stream.coding == "huffman"
    assert rare.stream.size == 1 + -(-32 * 3 // 8) + -(-rare.coded // 8)
    assert stream.write(numbers(list(range(32)) * 20), 32).stream.coding == "fixed"
