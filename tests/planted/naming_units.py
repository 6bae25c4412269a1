"""Laws of `prune` and `sensitivity` by criteria of units, on batches of a user's own; and bugs planted there."""

from functools import cache

import torch
from planted.mutant import bugs, instead
from torch import nn
from torch.nn import functional as F

from sapwood.checks import Laws
from sapwood.checks.law import demand
from sapwood.criteria import CRITERIA, UNIT_CRITERIA
from sapwood.export import members, shown, worth
from sapwood.scoring.observation import observe
from sapwood.shrinking.finding import sites
from sapwood.training.task import Batch, Data, Task

weighed = worth.worth


def loss(outputs, batch):
    """The sum over a batch, of whatever kind it is."""
    return F.cross_entropy(outputs, batch[1], reduction="sum")


@cache
def setting():
    """(network in training mode, its sites, batches of unequal size, the same as a task's); float64."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.BatchNorm2d(8), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(32, 5), nn.ReLU(), nn.Linear(5, 3)).double()
    for norm in (model[1], model[4]):
        norm.weight.data, norm.bias.data = torch.randn_like(norm.weight), torch.randn_like(norm.bias)
    x, y = torch.randn(7, 2, 6, 6, dtype=torch.float64), torch.randint(3, (7,))
    pairs = [(x[:5], y[:5]), (x[5:], y[5:])]
    batches = [Batch(*pair) for pair in pairs]
    data = Data(*[Batch(x, y)] * 3)
    task = Task("own", lambda: model, data, lambda p: torch.optim.SGD(p, lr=0.1))
    return model, sites(model, x[:2]), pairs, task, batches


def naming_laws() -> Laws:
    return {
        "prune by units: what a criterion of units says of a user's batches is what it says of a task's": _as_of_a_task,
        "prune by units: a criterion of weights gathers from batches what observe would": _gathered,
        "prune by units: the network is left as it was": _left,
    }


def _as_of_a_task() -> None:
    model, found, pairs, task, batches = setting()
    for name in UNIT_CRITERIA.keys() - CRITERIA.keys():
        seen = worth.worth(model, found, name, pairs, loss=loss, example=pairs[0][0])
        expected = members.unit_scores(name, model, found, task, batches)
        demand(seen.keys() == expected.keys(), f"{name} scores {sorted(seen)}, not {sorted(expected)}")
        gap = max(float((seen[site] - expected[site]).abs().max() / expected[site].abs().max()) for site in seen)
        demand(gap < 1e-12, f"{name} says otherwise, by {gap:.1e}")


def _gathered() -> None:
    model, found, pairs, *_ = setting()
    for name in ("apoz", "activity", "snip"):
        evidence = observe(model, pairs, *CRITERIA[name].needs, loss=loss)
        expected = worth.worth(model, found, name, evidence)
        seen = worth.worth(model, found, name, pairs, loss=loss)
        demand(all(torch.equal(seen[site], expected[site]) for site in expected), f"{name} is of other evidence")


def _left() -> None:
    model, found, pairs, *_ = setting()
    model.train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for name in ("hrank", "taylor_unit", "taylor_weight"):
        worth.worth(model, found, name, pairs, loss=loss, example=pairs[0][0])
    demand(model.training, "it is in evaluation mode")
    demand(all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items()), "buffers moved")
    demand(all(p.grad is None for p in model.parameters()), "gradients are left on it")


def summed(self, model, batch, outputs):
    return self.summed(outputs, batch.given)


def first_only(model, batches, who, each=shown.batching.each):
    yield next(each(model, batches, who))


def of_weights_first(name):
    """As L1 norms of weights, whatever was asked for."""
    return UNIT_CRITERIA["l1"]


def in_its_mode(model, arguments=None):
    """No evaluation mode around the criterion, and a pass of its own before it."""
    model(setting()[2][0][0])
    return members.ExitStack()


def half_of_them(model, batches, *needs, gathered=observe, **options):
    return gathered(model, list(batches)[:1], *needs, **options)


MUTANTS = bugs(
    "prune by units",
    naming_laws,
    {
        "what a criterion of units says of a user's batches is what it says of a task's": {
            "a loss that grows with the batch": instead(shown._Asks, "loss", summed),
            "only the first batch looked at": instead(shown.batching, "each", first_only),
            "every criterion of units taken for one": instead(worth, "called", of_weights_first),
        },
        "a criterion of weights gathers from batches what observe would": {
            "evidence of the first batch alone": instead(shown, "observe", half_of_them),
        },
        "the network is left as it was": {
            "a pass in training mode": instead(shown, "evaluating", in_its_mode),
        },
    },
)
