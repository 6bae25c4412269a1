"""What every random network is put to, and how many are drawn: 150 in CI, $SAPWOOD_NETWORKS of each kind at night.

Nothing here believes the proof that `shrink` makes: the smaller network's answers are compared with those of the whole
network, in which units are removed by the oracle. A refusal is an InputError, or a network that may lose nothing.
"""

import os
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field

import pytest
import torch
from hypothesis import HealthCheck, Phase, settings
from oracle import confirmed
from test_shrink import half

from sapwood.errors import InputError
from sapwood.shrinking.finding import couplings
from sapwood.shrinking.shrunk import compact, shrink
from sapwood.shrinking.tracing.anatomy import Anatomy
from sapwood.shrinking.tracing.graph import named_tensors

NIGHTLY = int(os.environ.get("SAPWOOD_NETWORKS", "0"))  # so many of each kind, drawn anew each time
PATIENT = pytest.mark.timeout(0 if NIGHTLY else 600)  # seconds; 0: as long as it takes
FEW = 0.05  # the share of networks that may be refused
REASONS = (
    "aten.",
    "it is the network's answer",
    "nothing else sits where it does",
    "nothing uses it for this example",
    "makes it and reads it by the same dimension",
    "it makes one unit, and one unit must stay",
)


def many(count):
    """So many networks, always the same ones; nightly more, and others."""
    return settings(
        max_examples=NIGHTLY or count,
        deadline=None,
        derandomize=not NIGHTLY,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=(HealthCheck.too_slow,),
    )


@dataclass
class Tally:
    """How many networks were drawn, and what was said to those that were refused."""

    drawn: int = 0
    refusals: list[str] = field(default_factory=list)

    @contextmanager
    def one(self):
        """A network; an InputError is a refusal, anything else a crash."""
        self.drawn += 1
        try:
            yield
        except InputError as refusal:
            self.refusals.append(str(refusal))

    def seen(self):
        """Few are refused, and told by which operator."""
        assert self.drawn > 0
        assert all("aten." in said for said in self.refusals), self.refusals
        assert len(self.refusals) < FEW * self.drawn, f"{len(self.refusals)} of {self.drawn} refused: {self.refusals}"


def numbers(model):
    return sum(tensor.numel() for _, tensor in named_tensors(model))


def answers_alike(small, x, wanted):
    """In float64, where rounding stays far below this and any other weight far above."""
    with torch.no_grad():
        torch.testing.assert_close(small(x), wanted, rtol=0, atol=1e-11 * max(1.0, float(wanted.abs().max())))


def loses_units(tally, model, inputs, seed, spelt=None):
    """A random half of all units goes; `spelt` as for the oracle."""
    with tally.one():
        anatomy = Anatomy(model, inputs[0])
        found = couplings(anatomy)
        assert all(any(words in pinned.because for words in REASONS) for pinned in found.pinned), found.pinned
        if not found.sites:
            raise InputError("nothing may go: " + "; ".join(pinned.because for pinned in found.pinned))
        keep = half(found.sites, seed)
        small = shrink(anatomy, keep).model
        for x in inputs:
            answers_alike(small, x, confirmed(model, x, found.sites, keep, spelt))
        if getattr(model, "aux", None) is not None and trains(model, inputs[0]):
            small.train()(inputs[0])
        alone = found.sites[seed % len(found.sites)].name  # what is offered can go by itself too
        assert not numbers(shrink(anatomy, {alone: keep[alone]}).model) < numbers(small)
        gone = any(not bool(kept.all()) for kept in keep.values())
        assert numbers(small) < numbers(model) if gone else numbers(small) == numbers(model)


def trains(model, x):
    """Whether a network trains at all: an instance norm takes no single pixels then."""
    try:
        deepcopy(model).train()(x)
    except ValueError as error:
        if "Expected more than 1 spatial element" not in str(error):
            raise
        return False
    return True


def loses_dead_rows(tally, model, inputs, seed, kinds):
    """Some rows of some layers are 0; what is left computes what the network with these rows computes."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, kinds) and getattr(layer, "groups", 1) == 1:
                layer.weight[torch.rand(len(layer.weight), generator=generator) < 0.3] = 0
    with tally.one(), torch.no_grad():
        small = compact(model, example=inputs[0]).model
        for x in inputs:
            answers_alike(small, x, model(x))
