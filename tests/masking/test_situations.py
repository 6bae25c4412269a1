"""Removed weights are 0 in every forward pass of random training situations; SAPWOOD_SITUATIONS=600 draws 600 new."""

import os
import random

import pytest
from masking import situations

ASKED = int(os.environ.get("SAPWOOD_SITUATIONS", 0))
SEEDS = range(60) if not ASKED else random.SystemRandom().sample(range(10**9), ASKED)


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step:UserWarning")  # a scaler has skipped the first
@pytest.mark.parametrize("part", range(6))
def test_removed_weights_are_0_in_every_forward_pass(part):
    seeds = SEEDS[part::6]
    refusals = [(seed, said) for seed in seeds for said in situations.lived_through(seed)]
    assert len(refusals) <= len(seeds) / 10, refusals


def test_a_weight_that_comes_back_is_seen(monkeypatch):
    """Without the look before the forward pass, most situations fail."""
    monkeypatch.setattr("sapwood.masking.looking.Look.__call__", lambda *_: None)
    seen = 0
    for seed in range(12):
        try:
            situations.lived_through(seed)
        except AssertionError as error:
            seen += "are back" in str(error)
    assert seen >= 6
