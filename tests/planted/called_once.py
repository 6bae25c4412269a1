"""Bugs planted in one call as a method: what goes is what `prune` takes, to the budget, and luck is the seed's."""

from functools import cache, partial
from importlib import import_module
from types import SimpleNamespace

import torch
from planted.mutant import bugs, instead
from torch.optim import SGD

from sapwood import prune
from sapwood.checks import Laws
from sapwood.checks.law import demand
from sapwood.checks.tiny import CLASSES, tiny_images
from sapwood.models.resnet_cifar import resnet_cifar
from sapwood.training.run import start
from sapwood.training.task import Batch, Data, Task

calling = import_module("sapwood.methods.one_call")
SEARCH, LUCK, target_of = calling.Search, calling.luck, calling.target_of


def coloured(samples, seed):
    batch = tiny_images(samples, seed)
    return Batch(batch.inputs.repeat(1, 3, 2, 2), batch.targets)


DATA = Data(coloured(16, 0), coloured(8, 1), coloured(8, 2))
NET = partial(resnet_cifar, 14, width=4, classes=CLASSES, dtype=torch.float64)
TASK = Task("coloured", NET, DATA, partial(SGD, lr=0.1), batch_size=8, classes=CLASSES)


def laws() -> Laws:
    return {
        "one call: the network is the one that prune gives, without the branches that go": partial(_same, False),
        "one call: every site loses the same share where that is asked for": partial(_same, True),
        "one call: luck is drawn by the seed": _luck,
    }


@cache
def _wanted(uniform):
    return prune(start(TASK).model, TASK.example, macs=0.5, multiple=1, uniform=uniform, timing=0)


def _same(uniform):
    wanted, run = _wanted(uniform), start(TASK)
    list(calling.one_call(run, macs=0.5, multiple=1, uniform=uniform, tune=0))
    now = run.size().macs
    demand(now == wanted.after.macs, f"{now} multiply-adds are left, and prune leaves {wanted.after.macs}")
    x = DATA.test.take(slice(None)).inputs
    demand(torch.equal(run.model.eval()(x), wanted.model.eval()(x)), "the outputs are others than those of prune")


def _luck():
    sites = [SimpleNamespace(name=name, units=8) for name in ("a", "b")]
    one, other = (
        calling.scored(SimpleNamespace(seed=seed), SimpleNamespace(sites=sites), "luck", 1) for seed in (0, 1)
    )
    demand(not torch.equal(one["a"], other["a"]), "seeds 0 and 1 draw the same")
    demand(not torch.equal(one["a"], one["b"]), "two sites draw the same")


def half_of_half(macs):
    return target_of(macs=macs / 2)


MUTANTS = (
    *bugs("one call", laws, {
        "the network is the one that prune gives, without the branches that go": {
            "branches without units stay": instead(calling, "remove_branches", lambda model, gone: model),
            "the budget is half of the one asked for": instead(calling, "target_of", half_of_half),
        },
        "every site loses the same share where that is asked for": {
            "units are ranked over all sites": instead(
                calling, "Search", lambda anatomy, offer, scores, uniform: SEARCH(anatomy, offer, scores, False)
            ),
        },
        "luck is drawn by the seed": {
            "luck is that of seed 0": instead(calling, "luck", lambda seed, what: LUCK(0, what)),
        },
    }),
)  # fmt: skip
