"""Draws: a generator for each seed, purpose and step, whose whole state is a digest of the three."""

import numpy as np
import pytest
import torch
from planted.measuring import luck_laws

from sapwood.training.draws import BEGIN, FIRST, WORDS, drawn, luck

LAWS = luck_laws()


@pytest.mark.parametrize("law", LAWS)
def test_laws(law):
    LAWS[law]()


def test_where_torch_keeps_the_words_of_its_generator():
    """Those of the Mersenne twister's own seeding, Matsumoto & Nishimura 1998."""
    state = torch.Generator().manual_seed(5).get_state().numpy().view("<u8")[BEGIN : BEGIN + WORDS]
    words = [5]
    for i in range(1, WORDS):
        words.append((1812433253 * (words[-1] ^ (words[-1] >> 30)) + i) % 2**32)
    assert state.tolist() == words


def test_what_comes_out_is_uniform_and_two_streams_are_not_related():
    streams = np.stack([torch.rand(20_000, generator=luck(0, "probe", step)).numpy() for step in range(8)])
    assert abs(streams.mean(1) - 0.5).max() < 5 / (12 * 20_000) ** 0.5
    related = np.corrcoef(streams) - np.eye(8)
    assert abs(related).max() < 5 / 20_000**0.5


def test_torchs_own_random_numbers_are_left_alone():
    before = torch.get_rng_state()
    luck(3, "anything", 5)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("kind", "step", "word"),
    [
        ("data order", 7, 2 * 1_000_003 + 7),
        ("samples at initialisation", 0, 2 * 5_003 + 1),
        ("shuffled masks", 0, 2 * 6_101 + 1),
        ("other initial weights", 0, 2 * 6_101 + 2),
    ],
)
def test_kinds_that_were_drawn_by_a_formula_keep_their_bits(kind, step, word):
    before = torch.Generator().manual_seed(word)
    assert torch.equal(torch.rand(9, generator=luck(2, kind, step)), torch.rand(9, generator=before))


def test_where_the_formula_would_meet_itself_the_digest_takes_over():
    for kind, (factor, _, steps) in FIRST.items():
        assert drawn(0, kind, factor) != drawn(1, kind, 0), "step `factor` of seed 0, step 0 of seed 1"
        assert drawn(0, kind, steps) != drawn(0, kind, steps - 1)
        assert drawn(2**32, kind) != drawn(0, kind), "torch looks at 32 bits"


def test_any_whole_number_is_a_seed():
    assert len({drawn(seed, "data order", 1) for seed in (0, 1, 2**31, 2**32, 2**64, 2**100)}) == 6
