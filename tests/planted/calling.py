"""Bugs planted in one call as a method: what goes is what `prune` takes, to the budget, and luck is the seed's."""

from functools import partial
from importlib import import_module

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
        "one call: the network is the one that prune gives, without the branches that go": partial(_same, {}),
        "one call: every site loses the same share where that is asked for": partial(_same, {"uniform": True}),
        "one call: luck is drawn by the seed": _luck,
    }


def _called(seed=0, **options):
    run = start(TASK, seed=seed)
    run.rewind(start(TASK).model.state_dict())
    list(calling.one_call(run, macs=0.5, multiple=1, tune=0, **options))
    return run


def _same(options):
    wanted = prune(start(TASK).model, TASK.example, macs=0.5, multiple=1, timing=0, **options)
    run = _called(**options)
    now = run.size().macs
    demand(now == wanted.after.macs, f"{now} multiply-adds are left, and prune leaves {wanted.after.macs}")
    x = DATA.test.take(slice(None)).inputs
    demand(torch.equal(run.model.eval()(x), wanted.model.eval()(x)), "the outputs are others than those of prune")


def _luck():
    one, other = (_called(seed, by="luck").model.state_dict() for seed in (0, 1))
    same = all(torch.equal(value, other[name]) for name, value in one.items() if value.shape == other[name].shape)
    demand(not same or {n: v.shape for n, v in one.items()} != {n: v.shape for n, v in other.items()},
           "seeds 0 and 1 leave the same units")  # fmt: skip


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
