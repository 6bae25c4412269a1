"""Bugs planted in first tries: how batches are read, what a file's original is, how numbers are explained."""

from contextlib import nullcontext
from importlib import import_module

import torch
from planted.mutant import bugs, instead
from torch import nn

from sapwood import ancestry
from sapwood.checks.law import demand
from sapwood.errors import InputError
from sapwood.shrinking.tracing.anatomy import Anatomy

batches, norms = (import_module(f"sapwood.{name}") for name in ("scoring.batches", "measure.norms"))
shrunk = import_module("sapwood.shrinking.shrunk")
known = ancestry.is_smaller
network, originals, targets = (import_module(f"sapwood.export.{name}") for name in ("network", "originals", "targets"))


def laws():
    """Of first tries."""
    return {
        "first tries: a batch is read in the first way that runs, and counts once": _ways,
        "first tries: trying the first batch loses none": _tried,
        "first tries: no file has a smaller network for its original": _originals,
        "first tries: what was cut is known as smaller, and what was not is not": _cut,
        "first tries: a number above 1 that may be a share is explained": _numbers,
    }


class _Reads(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(2)

    def forward(self, batch):
        return self.norm(batch["x"])


def _given():
    return [({"x": torch.full((2, 2), float(n))}, None) for n in (1, 3)]


def _ways():
    model = _Reads()
    try:
        norms.recalibrate(model, _given())
    except InputError as error:
        demand(False, f"it says {error}")
    demand(model.norm.running_mean.tolist() == [2, 2], f"the mean of 1 and 3 is {model.norm.running_mean[0]}")
    demand(model.norm.num_batches_tracked == 2, f"2 batches count as {model.norm.num_batches_tracked}")


def _tried():
    found = [int(given["x"][0, 0]) for given, _ in batches.tried(_Reads(), iter(_given()), "recalibrate()")]
    demand(found == [1, 3], f"of 1 and 3 are left {found}")


def _originals():
    small = nn.Linear(2, 2)
    ancestry.note_smaller(small)
    for of, refused in ((small, True), (nn.Linear(2, 2), False)):
        try:
            network.save(nn.Linear(2, 2), "/nowhere/at/all", of=of)
        except InputError as error:
            said = str(error)
        demand(("made smaller itself" in said) is refused, f"it says {said}")


def _cut():
    net, x = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)), torch.rand(2, 4)
    small = shrunk.shrink(Anatomy(net, x), {"0": torch.arange(6) < 4}).model
    again = shrunk.compact(small, example=x).model
    for each, smaller in ((net, False), (shrunk.compact(net, example=x).model, False), (small, True), (again, True)):
        demand(known(each) is smaller, f"{each} is {'not ' * smaller}known as smaller")


def _numbers():
    said = [str(targets.target_of(macs=value)) for value in (0.5, 1.5, 50.0, 1e6)]
    demand(["macs=0.5" in each for each in said] == [True, True, True, False], f"it says {said}")


CLAIMS = {
    "a batch is read in the first way that runs, and counts once": {
        "the likeliest way is taken, whether it runs or not": instead(batches, "_running", lambda *given: 0),
        "the try leaves its traces": instead(batches, "untouched", lambda *models: nullcontext()),
    },
    "trying the first batch loses none": {
        "the first batch is gone": instead(batches, "chain", lambda first, rest: rest),
    },
    "no file has a smaller network for its original": {
        "nobody looks at the original": instead(network, "refuse_smaller", lambda of: None),
        "nothing is remembered": instead(originals, "is_smaller", lambda model: False),
    },
    "what was cut is known as smaller, and what was not is not": {
        "cuts are not remembered": instead(shrunk, "descended", lambda small, model: small),
        "a smaller network's copy is forgotten": instead(ancestry, "is_smaller", lambda model: False),
        "every copy counts as smaller": instead(ancestry, "_sizes", id),
    },
    "a number above 1 that may be a share is explained": {
        "percents are no numbers": instead(targets, "PERCENT", 2),
        "nothing is counted": instead(targets, "COUNTED", {}),
    },
}

MUTANTS = bugs("first tries", laws, CLAIMS)
