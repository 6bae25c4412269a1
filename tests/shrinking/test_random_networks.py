"""Random networks on images: whatever sites offers can be removed, and the rest computes what the oracle says."""

from hypothesis import given
from hypothesis import strategies as st
from random_checks import PATIENT, Tally, loses_dead_rows, loses_units, many
from random_images import Images, branches, cross_stage, networks
from torch import nn
from zoo import image, settled

from sapwood.shrinking.finding import sites

pytestmark = PATIENT


def inputs():
    return image(), image().flip(0, 1) + 0.1


def test_random_units_of_random_networks():
    tally = Tally()

    @many(65)
    @given(networks, st.integers(0, 9))
    def each(model, seed):
        loses_units(tally, settled(model), inputs(), seed)

    each()
    tally.seen()


def test_random_dead_rows_of_random_networks():
    tally = Tally()

    @many(15)
    @given(networks, st.integers(0, 9))
    def each(model, seed):
        loses_dead_rows(tally, settled(model), inputs(), seed, nn.Conv2d)

    each()
    tally.seen()


def test_one_layer_that_makes_several_sites():
    """Halves of the first layer's channels hang together with different branches: twice as many units of one name."""
    model, tally = settled(Images([branches, cross_stage], 8, "batch", "relu", False)), Tally()
    loses_units(tally, model, inputs(), 0)
    assert not tally.refusals
    assert {site.name: site.units for site in sites(model, image())}.items() >= {"stem#1": 4, "stem#2": 4}.items()
