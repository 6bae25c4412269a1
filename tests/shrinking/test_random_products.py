"""Random networks of products: what goes is masked in the ordinary layers around them, and the rest answers alike."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from random_checks import PATIENT, REASONS, Tally, answers_alike, many, numbers
from random_products import PIECES, Products, by_hand, masked_units, networks
from test_shrink import half
from zoo import settled

from sapwood.errors import InputError
from sapwood.shrinking.finding import couplings
from sapwood.shrinking.shrunk import shrink
from sapwood.shrinking.tracing.anatomy import Anatomy

pytestmark = PATIENT
REASONED = (*REASONS, "a weight is computed by a sum over it")


def inputs():
    words = torch.arange(14).view(2, 7) % 11
    return words, (words * 3 + 5) % 11


def loses_masked_units(tally, model, seed):
    """A random half of all units goes; nothing here asks the proof, nor the graph what is read where."""
    with tally.one():
        anatomy = Anatomy(model, inputs()[0])
        found = couplings(anatomy)
        assert all(any(words in pinned.because for words in REASONED) for pinned in found.pinned), found.pinned
        if not found.sites:
            raise InputError("nothing may go: " + "; ".join(pinned.because for pinned in found.pinned))
        keep, spelt = half(found.sites, seed), by_hand(model)
        small = shrink(anatomy, keep).model
        for x in inputs():
            with torch.no_grad(), masked_units(spelt, found.sites, keep):
                wanted = spelt(x)
            answers_alike(small, x, wanted)
        assert numbers(small) < numbers(model) or all(bool(kept.all()) for kept in keep.values())


@pytest.mark.parametrize("piece", PIECES)
def test_every_piece_loses_half_of_its_units(piece):
    tally = Tally()
    loses_masked_units(tally, settled(Products([piece], 8, True)), 3)
    assert not tally.refusals


@pytest.mark.slow
def test_random_units_of_random_products():
    tally = Tally()

    @many(40)
    @given(networks, st.integers(0, 9))
    def each(model, seed):
        loses_masked_units(tally, settled(model), seed)

    each()
    tally.seen()
