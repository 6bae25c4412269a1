"""The adaptive coder: back again bit by bit, as short as its estimates allow, byte by byte, whatever the bytes are."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sapwood.codec import arithmetic, huffman, stream

SYMBOLS = st.tuples(st.integers(1, 300), st.lists(st.integers(0, 10_000), max_size=300)).map(
    lambda drawn: (drawn[0], [symbol % drawn[0] for symbol in drawn[1]])
)
SPARE = 16  # bits: the interval's end, and the byte that it is filled up to


def decisions(content, contexts):
    """What a decoder reads in these contexts, and how many bytes it had taken before each decision."""
    taken = []
    odds = {context: arithmetic.fresh() for context in contexts}

    def counted():
        for byte in content:
            taken.append(byte)
            yield byte

    decoder = arithmetic.Decoder(counted())
    return [(len(taken), decoder.read(odds[context])) for context in contexts]


def encoded(bits, contexts):
    """These bits in these contexts, and the probability that each of them was given."""
    encoder, odds, given = arithmetic.Encoder(), {context: arithmetic.fresh() for context in contexts}, []
    for bit, context in zip(bits, contexts, strict=True):
        given.append(odds[context][bit] / sum(odds[context]))
        encoder.write(bit, odds[context])
    return encoder.finish(), np.array(given)


def test_the_worked_example():
    """1, 1, 0 in one context have 1/2 * 3/4 * 1/6 = 1/16, the interval from 5/8 to 11/16, in which 0.101 lies."""
    content, given = encoded([1, 1, 0], [0, 0, 0])
    assert given.tolist() == [1 / 2, 3 / 4, 1 / 6]
    assert content == bytes([0b10100000])
    assert [bit for _, bit in decisions(content, [0, 0, 0])] == [1, 1, 0]


@given(SYMBOLS)
def test_what_is_decoded_is_what_was_encoded(drawn):
    alphabet, symbols = drawn
    content = arithmetic.encode(symbols, alphabet)
    assert arithmetic.decode(content, alphabet, len(symbols)).tolist() == symbols
    assert not content.endswith(b"\0")


@given(SYMBOLS)
def test_its_size_is_estimated_well_enough_to_choose_by(drawn):
    alphabet, symbols = drawn
    written = stream.write(np.array(symbols, np.int64), alphabet, coders=(stream.ADAPTIVE,))
    settled = stream.settled(written)
    assert settled.stream.size == len(settled.pack()) <= written.stream.size
    assert settled.pack() == written.pack()


@given(SYMBOLS)
def test_it_is_as_long_as_its_estimates_say_and_never_below_the_entropy(drawn):
    alphabet, symbols = drawn
    symbols = np.array(symbols, np.int64)
    ideal = arithmetic.ideal(arithmetic.decided(np.bincount(symbols, minlength=alphabet)))
    bits = 8 * len(arithmetic.encode(symbols.tolist(), alphabet))
    assert ideal - 8 * 8 < bits < ideal * 1.0001 + SPARE, "zeros at the end are left out, a few bytes at most"
    assert huffman.entropy(np.bincount(symbols, minlength=1)) <= ideal + 1e-6


@pytest.mark.parametrize(("alphabet", "share"), [(8, 0.3), (32, 0.1), (256, 0.02), (2, 0.01)])
def test_it_is_within_one_percent_of_the_entropy_of_many_symbols(alphabet, share):
    symbols = np.minimum(np.random.default_rng(0).geometric(share, 30_000) - 1, alphabet - 1)
    bits, entropy = 8 * len(arithmetic.encode(symbols.tolist(), alphabet)), huffman.entropy(np.bincount(symbols))
    assert entropy < bits < 1.01 * entropy + SPARE


def test_a_context_that_has_changed_its_mind_is_believed():
    """Counts are halved, so that the second half costs less than its surprise."""
    bits = [0] * 100_000 + [1] * 100_000
    content, _ = encoded(bits, [0] * len(bits))
    assert [bit for _, bit in decisions(content, [0] * len(bits))] == bits
    assert 8 * len(content) < 100_000


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), min_size=1, max_size=400))
def test_a_stream_is_decoded_as_its_bytes_come(drawn):
    """Before a decision no more bytes have been taken than the decisions before it are worth, and four."""
    bits, contexts = [int(bit) for bit, _ in drawn], [context for _, context in drawn]
    content, given = encoded(bits, contexts)
    found = decisions(content, contexts)
    assert [bit for _, bit in found] == bits
    worth = np.concatenate([[0.0], -np.log2(given).cumsum()])
    assert all(taken <= arithmetic.BYTES + (before + 1) / 8 for (taken, _), before in zip(found, worth, strict=False))


def test_carries_run_through_bytes_that_have_moved_out():
    """Likely 1s bring the lower end to 0.FFFF...; then a carry passes through all of them."""
    odds = [1, arithmetic.MOST - 2]
    for ones in range(0, 4_000, 37):
        for tail in ([0, 1, 1], [1, 0, 1], [0, 0, 0], [1, 1, 1]):
            bits = [1] * ones + tail * 3
            encoder = arithmetic.Encoder()
            for bit in bits:
                encoder.write(bit, odds.copy())
            decoder = arithmetic.Decoder(encoder.finish())
            assert [decoder.read(odds.copy()) for _ in bits] == bits


@given(st.binary(max_size=60), st.integers(1, 40), st.integers(0, 200))
@settings(max_examples=200)
def test_any_bytes_are_symbols_or_are_refused(content, alphabet, count):
    with suppress(ValueError):
        symbols = stream.read(stream.Stream(stream.ADAPTIVE, alphabet, count, len(content)), content)
        assert len(symbols) == count
        again = arithmetic.encode(symbols.tolist(), alphabet)
        assert np.array_equal(arithmetic.decode(again, alphabet, count), symbols)


@pytest.mark.parametrize(
    ("content", "alphabet", "says"),
    [
        (bytes(5), 2, "more bytes than its decisions have"),
        (b"", 2**70, "an alphabet of 118"),
        (b"\xff" * 4, 5, "symbol "),
    ],
)
def test_what_no_encoder_writes_is_refused(content, alphabet, says):
    with pytest.raises(ValueError, match=says):
        stream.read(stream.Stream(stream.ADAPTIVE, alphabet, 3, len(content)), content)


def test_it_is_taken_where_huffmans_table_costs_more_than_it_spares():
    luck = np.random.default_rng(0)
    few, many = luck.geometric(0.2, 200) % 64, luck.geometric(0.2, 60_000) % 64
    assert stream.write(few, 64).stream.coding == stream.ADAPTIVE
    by_huffman = stream.write(few, 64, coders=(stream.HUFFMAN,))
    assert by_huffman.table * 8 > by_huffman.coded - by_huffman.entropy > 0
    assert stream.settled(stream.write(few, 64)).stream.size < by_huffman.stream.size
    assert stream.write(many * 0 + luck.integers(64, size=60_000), 64).stream.coding == stream.FIXED
    rare = (luck.random(stream.DECISIONS + 1) < 0.1).astype(np.int64)
    assert stream.write(rare, 2).stream.coding != stream.ADAPTIVE, "that would take long"
    assert stream.write(rare[:-1], 2).stream.coding == stream.ADAPTIVE


def test_constriction_needs_as_many_words_for_the_same_probabilities():
    constriction = pytest.importorskip("constriction", reason="not installed: constriction; pip install -e '.[test]'")
    luck = np.random.default_rng(0)
    bits, contexts = (luck.random(5_000) < 0.1).astype(np.int32), luck.integers(4, size=5_000)
    content, given = encoded(bits.tolist(), contexts.tolist())
    ones = np.where(bits == 1, given, 1 - given)
    encoder = constriction.stream.queue.RangeEncoder()
    encoder.encode(bits, constriction.stream.model.Bernoulli(perfect=False), ones)
    theirs = encoder.get_compressed()
    decoder = constriction.stream.queue.RangeDecoder(theirs)
    assert np.array_equal(decoder.decode(constriction.stream.model.Bernoulli(perfect=False), ones), bits)
    assert abs(8 * len(content) - 32 * len(theirs)) < 64
