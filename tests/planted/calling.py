"""Bugs planted in the one call: what it scores, what it lets go, what it claims."""

from contextlib import contextmanager, suppress
from importlib import import_module
from itertools import pairwise, starmap
from unittest.mock import patch

import torch
from planted.mutant import bugs, instead
from torch import nn

from sapwood import InputError, prune
from sapwood.checks.law import demand
from sapwood.measure.clock import Ratio, Timing

choices, offers, worth, pruning, pruned = (
    import_module(f"sapwood.export.{name}") for name in ("choices", "offers", "worth", "pruning", "pruned")
)
norms, within = worth.norms, choices.select.within
search = import_module("sapwood.export.search")


def net():
    """Three layers that read each other."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 48), nn.ReLU(), nn.Linear(48, 2))


class Passed(nn.Module):
    """A branch, behind it a wide layer that all has to pass."""

    def __init__(self):
        super().__init__()
        self.first, self.inside, self.out = nn.Linear(4, 16), nn.Linear(16, 16), nn.Linear(16, 16)
        self.wide, self.head = nn.Linear(16, 128), nn.Linear(128, 2)

    def forward(self, x):
        x = self.first(x)
        return self.head(self.wide(x + self.out(self.inside(x).relu())).relu())


def filled(model):
    """All weights are 1, those in a branch half of it."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(0.5 if name.startswith(("inside", "out")) else 1.0)
    return model


def heads():
    """A layer of attention, all of whose weights are small, and a hidden layer."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                parameter.fill_(0.3 if "self_attn" in name else 1.0)
    return model


X, SEQUENCE = torch.ones(2, 4), torch.ones(1, 3, 32)


def laws():
    """Of `prune`."""
    return {
        "prune: at most the target is left": _target,
        "prune: widths that change are multiples": _multiples,
        "prune: what is named keeps its shape": _names,
        "prune: a head is compared channel by channel": _heads,
        "prune: narrow layers stay whole where wide ones do, but for branches": _norms,
        "prune: the best half of a site that all has to pass goes last": _half,
        "prune: the network that comes back was measured to be fast enough": _measured,
        "prune: nothing is said to be equal that was not proven": _claims,
        "prune: the cache of a model is on again": _cache,
    }


def _target():
    found = prune(net(), X, macs=0.5, timing=0)
    demand(found.after.macs <= 0.5 * found.before.macs, f"{found.after.macs} of {found.before.macs} MACs are left")


def _multiples():
    for name, keep in prune(net(), X, macs=0.5, timing=0).keep.items():
        demand(bool(keep.all()) or int(keep.sum()) % 8 == 0, f"{int(keep.sum())} units of {name} stay")


def _names():
    model = net()
    with torch.no_grad():
        model[0].weight.mul_(1e-3)
        model[2].weight.mul_(1e-3)
    small = prune(model, X, macs=0.7, by="magnitude", keep=["0"], timing=0).model
    demand(small[0].out_features == 32, f"the first layer was named, and {small[0].out_features} of 32 units stay")


def _heads():
    keep = prune(heads(), SEQUENCE, macs=0.8, timing=0).keep
    demand(bool(keep["linear1"].all()), "neurons went before heads whose channels have less weight")


def _norms():
    """By norms as they are, narrow layers would lose most, and the wide one would before the branch by shares.

    There are so many narrow layers that what they lose does not come back as what still fits.
    """
    sizes = (4, *[16] * 8, 128, 128, 2)
    keep = prune(filled(nn.Sequential(*starmap(nn.Linear, pairwise(sizes)))), X, macs=0.8, timing=0).keep
    narrow = [kept for kept in keep.values() if len(kept) == 16]
    demand(all(bool(kept.all()) for kept in narrow), "narrow layers lost units whose norms are low as these are narrow")
    keep = prune(filled(Passed()), X, macs=0.92, timing=0).keep
    demand(bool(keep["wide"].all()), "a layer that all has to pass lost units before a branch whose norms are lower")


def _half():
    model = net()
    with torch.no_grad():
        model[0].weight.mul_(1e-3)
        model[2].weight.mul_(1e-3)
        model[4].weight.mul_(1e3)
    for macs, least in ((0.5, 16), (0.15, 8)):
        keep = prune(model, X, macs=macs, by="magnitude", multiple=1, timing=0).keep
        demand(int(keep["0"].sum()) >= least, f"{int(keep['0'].sum())} of 32 units stay where 48 of a later layer do")


def _measured():
    """A clock by which a network is fast the first time, and its time is that of its parameters afterwards."""
    seen = list[int]()

    def timed(before, after, example, *, threads, seconds):
        size, whole = (sum(p.numel() for p in each.parameters()) for each in (after, before))
        seen.append(size)
        now = size * (0.5 if seen.count(size) == 1 else 1)
        times = (Timing(float(n), 0.0, 0.0, 0.0, 1, threads, ()) for n in (whole, now))
        return pruned.Times(*times, Ratio(now / whole, now / whole, now / whole, 1, threads), "cpu")

    with patch.object(pruning, "side_by_side", timed), suppress(InputError):
        found = prune(net(), X, ms=0.5, multiple=1)
        demand(found.times.left.median <= 0.5, f"{found.times.left.median:.2f} of the time is left")


def _claims():
    model = nn.Sequential(nn.Linear(4, 32), nn.LayerNorm(32), nn.ReLU(), nn.Linear(32, 2))
    said = str(prune(model, X, macs=0.5, lossy=True, timing=0))
    demand("not claimed" in said and "proven" not in said, f"a lossy cut is told as {said[said.index('equal') :]}")


class _Config:
    use_cache = True


def _cache():
    model = net()
    model.config = _Config()
    model.config.use_cache = True  # of this one, so that a copy has its own
    small = prune(model, X, macs=0.5, timing=0).model
    demand(model.config.use_cache and small.config.use_cache, "the cache of keys and values is off for good")


def halves(units, block, step):
    return [*range(block, units, max(1, step // 2)), units]


def one_short(scores, cost, limit, **options):
    return within(scores, cost, 1.1 * limit, **options)


def trusting(times, target):
    return True


def equal_anyway(self):
    return "to the network with the removed units as 0: proven"


def forgetful(sites, scores):
    return worth.per_unit(worth._wide(scores), sites, touching="both")


@contextmanager
def off_for_good(model):
    model.config.use_cache = False
    yield lambda network: None


def as_they_are(model, sites, passed_by=()):
    return norms(model, sites, [site.name for site in sites])


def shares(model, sites, passed_by=()):
    return norms(model, sites)


CLAIMS = {
    "narrow layers stay whole where wide ones do, but for branches": {
        "norms are compared as they are in all layers": instead(worth, "norms", as_they_are),
        "in branches, too, shares are compared": instead(worth, "norms", shares),
        "no addition passes a branch by": instead(offers, "passed_by", lambda *_: frozenset()),
    },
    "at most the target is left": {"a tenth more than the target stays": instead(choices.select, "within", one_short)},
    "widths that change are multiples": {"a step has half of its units": instead(choices, "_widths", halves)},
    "what is named keeps its shape": {"names of what stays are forgotten": instead(offers, "_kept", lambda *_: {})},
    "a head is compared channel by channel": {"a head counts all its channels": instead(worth, "_summed", forgetful)},
    "the best half of a site that all has to pass goes last": {
        "no part of a site goes last": instead(search, "guarded", lambda s, o: s),
        "a quarter of it goes last, as in a branch": instead(choices, "ALONE", choices.PASSED_BY),
        "its half goes last, and then any of it": instead(choices, "TIERS", 1),
    },
    "the network that comes back was measured to be fast enough": {
        "the last measurement is not looked at": instead(pruning, "_in_time", trusting)
    },
    "nothing is said to be equal that was not proven": {
        "equality is claimed in any case": instead(pruned.Pruned, "_equal", equal_anyway)
    },
    "the cache of a model is on again": {
        "the cache stays off": instead(pruning, "without_caches", off_for_good)
    },
}  # fmt: skip

MUTANTS = bugs("prune", laws, CLAIMS)
