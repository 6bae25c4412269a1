"""Bugs planted in what happens to thin residual branches: how narrow they get, which go, what trains on."""

from copy import deepcopy
from functools import cache
from importlib import import_module

import torch
from planted.mutant import bugs, instead
from torch import nn
from torch.nn import functional as F

from sapwood import prune
from sapwood.checks.law import demand

narrow, offers, build, program, choices = (
    import_module(f"sapwood.export.{name}") for name in ("narrow", "offers", "build", "program", "choices")
)
skip_, emptied = build.skip_, build.emptied


class Thin(nn.Module):
    """A branch of 16 channels."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.Conv2d(16, 16, 3, padding=1, bias=False)

    def forward(self, x):
        return F.relu(x + self.b(F.relu(self.a(x))))


@cache
def made():
    """Four of them, and what reads the stream."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), *(Thin() for _ in range(4)), nn.AdaptiveAvgPool2d(1),
                             nn.Flatten(), nn.Linear(16, 2))  # fmt: skip


X = torch.linspace(-1, 1, 3 * 16).reshape(1, 3, 4, 4)


def halved(share=0.6, **options):
    return prune(deepcopy(made()), X, macs=share, timing=0, **options)


def laws():
    """Of thin branches."""
    return {
        "narrow: a thin branch keeps a block or nothing": _whole,
        "narrow: half of the branches that are alike go last": _half,
        "narrow: what is emptied counts as 0": _zero,
        "narrow: the optimiser forgets what has gone": _forgets,
        "narrow: no zeros are written": _written,
        "narrow: what still fits comes back": _full,
    }


def _whole():
    found = halved(0.7)
    widths = {int(kept.sum()) for name, kept in found.keep.items() if name.endswith(".a")}
    demand(widths == {0, 16}, f"branches have {sorted(widths)} channels left")


def _half():
    worth = {f"{n}.a": torch.full((16,), float(n)) for n in range(1, 5)} | {"0": torch.full((16,), 3.5)}
    for share, stream in ((0.52, 16), (0.3, 8)):
        found = halved(share, by=worth)
        left = int(found.keep["0"].sum())
        demand(found.branches == ("1.b", "2.b") and left == stream, f"{found.branches} go, the stream has {left} left")


def _zero():
    found, whole = halved(0.6), deepcopy(made())
    for name in found.branches:
        nn.init.zeros_(whole.get_submodule(name).weight)
    one, other = found.model.double()(X.double()), whole.double()(X.double())
    demand(len(found.branches) > 0 and torch.allclose(one, other), "it is not the network without these branches")


def _forgets():
    model = deepcopy(made())
    found = prune(model, X, macs=0.6, timing=0, optimizer=torch.optim.SGD(model.parameters()))
    held = {id(p) for group in found.optimizer.param_groups for p in group["params"]}
    demand(held == {id(p) for p in found.model.parameters()}, "the optimiser has other parameters than the network")


def _written():
    found = program.exported(halved(0.6).model, X, (X,), opened=False)
    zeros = [node for node in found.graph.nodes if "zeros" in node.name]
    demand(not zeros, f"{len(zeros)} times zeros are in what is written")


def _full():
    pruned = halved(0.5)
    left = pruned.after.macs / pruned.before.macs
    demand(0.45 < left <= 0.5, f"asked for 50 % of the multiply-adds, it leaves {100 * left:.1f} %")


def _everything(counts, steps, fits):
    """All that went comes back."""
    return {name: len(steps[name]) for name in counts}


def _skips_one(model, modules):
    """Leaves out all of a branch but its last layer."""
    return skip_(model, {name: each for name, each in modules.items() if not each[0]})


def _others(keep, narrow):
    """The branches that keep their units in place of those that do not."""
    gone = emptied(keep, narrow)
    stay = [each.branch for name, each in narrow.items() if name not in gone]
    return dict(zip(gone, stay, strict=False))


MUTANTS = bugs("narrow", laws, {
    "a thin branch keeps a block or nothing": {
        "a block has 8 channels": instead(offers, "BLOCK", 8),
        "a branch is never offered": instead(narrow, "WIDE", 0),
    },
    "half of the branches that are alike go last": {
        "no branch goes last": instead(choices, "stronger", lambda scores, narrow: set()),
        "every branch goes last": instead(choices, "stronger", lambda scores, narrow: set(narrow)),
    },
    "what is emptied counts as 0": {
        "the last layer of a branch stays": instead(build, "skip_", _skips_one),
        "another branch goes": instead(build, "emptied", _others),
    },
    "the optimiser forgets what has gone": {
        "it goes on with all": instead(build, "_forget_", lambda optimizer, gone: None),
    },
    "what still fits comes back": {
        "nothing comes back": instead(choices, "_refilled", lambda counts, steps, fits: counts),
        "all comes back": instead(choices, "_refilled", _everything),
    },
    "no zeros are written": {"they are": instead(program, "without_zeros", lambda program: program)},
})  # fmt: skip
