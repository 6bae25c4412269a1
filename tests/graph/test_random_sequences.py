"""Random networks on sequences, attention, recurrent layers, norms, shared weights: what goes, goes exactly."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from random_checks import PATIENT, Tally, answers_alike, loses_dead_rows, loses_units, many
from random_sequences import PIECES, Sequences, by_hand, networks
from torch import nn
from zoo import settled

pytestmark = PATIENT


def inputs():
    words = torch.arange(14).view(2, 7) % 11
    return words, (words * 3 + 5) % 11


@pytest.mark.slow
def test_random_units_of_random_sequences():
    tally = Tally()

    @many(40)
    @given(networks, st.integers(0, 9))
    def each(model, seed):
        loses_units(tally, settled(model), inputs(), seed, by_hand(model))

    each()
    tally.seen()


@pytest.mark.slow
def test_random_dead_rows_of_random_sequences():
    tally = Tally()

    @many(20)
    @given(networks, st.integers(0, 9))
    def each(model, seed):
        loses_dead_rows(tally, settled(model), inputs(), seed, (nn.Linear, nn.Conv1d))

    each()
    tally.seen()


@pytest.mark.parametrize("piece", PIECES)
def test_torchs_layers_and_the_same_by_hand(piece):
    """What the oracle watches answers as what is pruned."""
    model = settled(Sequences([piece], 8, nn.LayerNorm, True))
    with torch.no_grad():
        answers_alike(by_hand(model), inputs()[0], model(inputs()[0]))
