"""Random networks on images: whatever sites offers can be removed, and the rest computes what the oracle says."""

from hypothesis import given
from hypothesis import strategies as st
from random_checks import PATIENT, Tally, loses_dead_rows, loses_units, many
from random_images import networks
from torch import nn
from zoo import image, settled

pytestmark = PATIENT


def inputs():
    return image(), image().flip(0, 1) + 0.1


def test_random_units_of_random_networks():
    tally = Tally()

    @many(60)
    @given(networks, st.integers(0, 9))
    def each(model, seed):
        loses_units(tally, settled(model), inputs(), seed)

    each()
    tally.seen()


def test_random_dead_rows_of_random_networks():
    tally = Tally()

    @many(30)
    @given(networks, st.integers(0, 9))
    def each(model, seed):
        loses_dead_rows(tally, settled(model), inputs(), seed, nn.Conv2d)

    each()
    tally.seen()
