"""Bugs planted in the scan: what is gone when a number is asked for, what is kept for later, what is read off."""

import tempfile
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import torch
from planted.mutant import bugs, instead
from torch import nn

from sapwood import select, sensitivity
from sapwood.checks.law import demand
from sapwood.export import scan_kept, scanning
from sapwood.selection import scans

X = torch.linspace(-1, 1, 32, dtype=torch.float64).reshape(8, 4)


def net():
    """A hidden layer, of which the first units are worth more."""
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1)).double()
    with torch.no_grad():
        for p in model.parameters():
            p.fill_(1.0)
        model[0].weight.mul_(torch.arange(8, 0, -1)[:, None])
        model[2].bias.zero_()
    return model


@torch.no_grad()
def ask(model):
    return model(X).mean()


def laws():
    """Of `sensitivity`."""
    return {
        "scan: with half of its units a site gives what its better half gives": _half,
        "scan: what an interrupted scan has measured is kept": _interrupted,
        "scan: numbers of other weights are not taken for these": _other,
        "scan: numbers of other data are not taken for these": _data,
        "scan: what is lost never falls when more is gone": _falls,
    }


def _half():
    found = sensitivity(net(), X, ask, shares=[0.5])
    small = net()
    with torch.no_grad():
        small[0].weight[4:] = small[0].bias[4:] = 0
    demand(found.values["0"][0] == float(ask(small)), f"{found.values['0'][0]} in place of {float(ask(small))}")


def _interrupted():
    count = 0

    def stop(model):
        nonlocal count
        count += 1
        if count == 4:
            raise KeyboardInterrupt
        return ask(model)

    with tempfile.TemporaryDirectory() as place:
        with suppress(KeyboardInterrupt):
            sensitivity(net(), X, stop, cache=Path(place) / "a")
        asked = sensitivity(net(), X, ask, cache=Path(place) / "a").asked
    demand(asked == 3, f"{asked} numbers were asked for after two of four had been measured")


def _other():
    model = net()
    with tempfile.TemporaryDirectory() as place:
        sensitivity(model, X, lambda network: 1.0, cache=Path(place) / "a")
        with torch.no_grad():
            model[0].weight *= 2
        found = sensitivity(model, X, lambda network: 1.0, cache=Path(place) / "a")
    demand(found.asked == 5, f"{found.asked} of 5 numbers were asked for, and the weights are others")


def _data():
    with tempfile.TemporaryDirectory() as place:
        sensitivity(net(), X, ask, cache=Path(place) / "a")
        found = sensitivity(net(), X, lambda model: 2 * ask(model), cache=Path(place) / "a")
    demand(found.asked == 5, f"{found.asked} of 5 numbers were asked for, and the data are others")


def _falls():
    found = scans.by_loss({"a": torch.arange(8.0)}, {"a": [0.25, 0.5]}, {"a": [0.4, 0.1]})["a"]
    demand(bool((found.diff() > 0).all()), f"scores {found.tolist()} of units in rising order")


def worst(scores, counts):
    return select.by_count({name: -each for name, each in scores.items()}, counts)


def forgetful(self, name, count, value):
    self.values.setdefault(name, {})[str(count)] = value
    self.added += 1


def as_they_are(share, gone, lost):
    at, seen = torch.tensor([0.0, *gone, 1.0]), torch.tensor([0.0, *lost, lost[-1]])
    right = torch.searchsorted(at, share.contiguous().float()).clamp(1, len(at) - 1)
    part = (share - at[right - 1]) / (at[right] - at[right - 1])
    return seen[right - 1] + part * (seen[right] - seen[right - 1]) + scans.TRIFLE * share


CLAIMS = {
    "with half of its units a site gives what its better half gives": {
        "the units with the highest scores are gone in a scan": instead(
            scanning, "select", SimpleNamespace(by_count=worst)
        ),
        "in a scan nothing is gone when the number is asked for": instead(
            scanning, "spread", lambda model, keep, sites: {}
        ),
    },
    "what an interrupted scan has measured is kept": {
        "a scan is written when it is over": instead(scan_kept.Kept, "add", forgetful)
    },
    "numbers of other weights are not taken for these": {
        "a scan of any weights is that of these": instead(scan_kept, "digest", lambda tensors: b"same")
    },
    "numbers of other data are not taken for these": {
        "what the whole network gives is not compared with the kept scan": instead(
            scan_kept, "isclose", lambda *_, **options: True
        )
    },
    "what is lost never falls when more is gone": {
        "losses are read off a scan as they were measured": instead(scans, "_read_off", as_they_are)
    },
}

MUTANTS = bugs("scan", laws, CLAIMS)
