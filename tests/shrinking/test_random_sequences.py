"""Random networks on sequences, attention, recurrent layers, norms, shared weights: what goes, goes exactly."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracle import confirmed
from random_checks import PATIENT, Tally, answers_alike, loses_dead_rows, loses_units, many
from random_sequences import PIECES, Sequences, by_hand, networks
from torch import nn
from zoo import settled

from sapwood.shrinking.finding import sites
from sapwood.shrinking.shrunk import shrink

pytestmark = PATIENT


def inputs():
    words = torch.arange(14).view(2, 7) % 11
    return words, (words * 3 + 5) % 11


@pytest.mark.slow
def test_random_units_of_random_sequences():
    tally = Tally()

    @many(60)
    @given(networks, st.integers(0, 9))
    def each(model, seed):
        loses_units(tally, settled(model), inputs(), seed, by_hand(model))

    each()
    tally.seen()


@pytest.mark.slow
def test_random_dead_rows_of_random_sequences():
    tally = Tally()

    @many(10)
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


def test_torchs_attention_loses_heads_and_as_much_of_the_stream():
    """Half as many rows for half as many columns: it looks whole, and is narrow."""
    model, words = settled(Sequences(["torch"], 8, nn.Identity, True)), inputs()[0]
    found = sites(model, words)
    assert [site.units for site in found] == [8, 4]
    keep = {site.name: torch.arange(site.units) < site.units // 2 for site in found}
    small = shrink(model, keep, found, example=words).model
    assert small.pieces[0].layers["a"].in_proj_weight.shape == (12, 4)
    answers_alike(small, words, confirmed(model, words, found, keep, by_hand(model)))


def test_layers_may_keep_different_numbers_of_heads():
    """Every number of heads is an attribute of its own layer; with a wrong one it would run as well."""
    model, words = settled(Sequences(["by bmm"] * 3, 8, nn.LayerNorm, True)), inputs()[0]
    found = sites(model, words)
    heads = [site for site in found if site.units == 4]  # the others are what is inside of each head
    keep = {site.name: torch.arange(4) < count for site, count in zip(heads, (2, 4, 1), strict=True)}
    small = shrink(model, keep, found, example=words).model
    assert [piece.n_heads for piece in small.pieces] == [2, 4, 1]
    answers_alike(small, words, confirmed(model, words, found, keep))
