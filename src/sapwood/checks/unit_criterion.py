"""Laws of criteria of units: one number for each unit, purity, repeatability, permutation."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import cache, partial

import torch
from torch import Tensor, nn

from sapwood.checks.law import Laws, Result, demand, tried
from sapwood.checks.tiny import seeded, tiny_conv_task
from sapwood.currency import Scores
from sapwood.methods.parts.ranking import unit_scores
from sapwood.scoring.unit_criterion import UnitCriterion
from sapwood.shrinking.finding import sites
from sapwood.shrinking.tracing.site import Site

ORDER = (2, 0, 3, 1)  # of the first convolution's four channels


def check_unit_criterion(name: str, criterion: UnitCriterion) -> list[Result]:
    """The laws of criteria of units, tried on `criterion`."""
    return tried(laws(name, criterion))


def laws(name: str, criterion: UnitCriterion) -> Laws:
    """The laws of criteria of units about `criterion`, not yet tried."""
    bodies: dict[str, Callable[[UnitCriterion], None]] = {
        "there is one finite number for each unit": _shapes,
        "nothing is touched: weights, gradients, mode, hooks, random state": _pure,
        "the same bits twice": _twice,
        "permuting units permutes scores": _permutation,
        "a unit without any weights left has a finite score": _without_weights,
    }
    return {f"unit criterion {name}: {law}": partial(body, criterion) for law, body in bodies.items()}


def _network() -> nn.Module:
    """Two convolutions with batch norms, and a linear layer; norms that have seen something."""
    with seeded(0):
        task = tiny_conv_task()
        net = task.model()
        net(task.data.train.take(slice(None)).inputs)
        for norm in (m for m in net.modules() if isinstance(m, nn.BatchNorm2d)):
            nn.init.normal_(norm.weight)
            nn.init.normal_(norm.bias)
    return net


@cache
def _sites() -> Sequence[Site]:
    """Of every network that `_network` makes: exporting it takes longer than all else that a law does."""
    return sites(_network(), tiny_conv_task().examples)


def _scores(criterion: UnitCriterion, net: nn.Module) -> Scores:
    task = tiny_conv_task()
    train = task.data.train
    return unit_scores(criterion, net, _sites(), task, [train.take(slice(0, 20)), train.take(slice(20, 48))])


def _shapes(criterion: UnitCriterion) -> None:
    units = {site.name: site.units for site in _sites()}
    found = _scores(criterion, _network())
    for name, s in found.items():
        demand(s.shape == (units[name],), f"site {name!r} of {units[name]} units has scores {tuple(s.shape)}")
        demand(s.dtype is torch.float64 and bool(s.isfinite().all()), f"site {name!r} has scores {s}")
    demand({"0", "4"} <= set(found), f"the convolutions have no scores; {', '.join(found)} have")


def _without_weights(criterion: UnitCriterion) -> None:
    net = _network()
    with torch.no_grad():
        for tensor in _of_first(net):
            tensor[1] = 0
        _weight(net)[:, 1] = 0
    demand(all(bool(s.isfinite().all()) for s in _scores(criterion, net).values()), "NaN or infinite scores")


def _pure(criterion: UnitCriterion) -> None:
    net = _network()
    frozen = next(net.parameters()).requires_grad_(False)
    before, random = deepcopy(net.state_dict()), torch.get_rng_state()
    with torch.no_grad():
        _scores(criterion, net)
    demand(all(torch.equal(value, before[name]) for name, value in net.state_dict().items()), "numbers changed")
    demand(all(p.grad is None for p in net.parameters()), "gradients were left behind")
    learning = [p.requires_grad for p in net.parameters()]
    demand(not frozen.requires_grad and all(learning[1:]), "what can be trained changed")
    demand(all(m.training for m in net.modules()), "the mode changed")
    demand(not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules()), "hooks were left behind")
    demand(torch.equal(random, torch.get_rng_state()), "the global random state was advanced")


def _twice(criterion: UnitCriterion) -> None:
    net = _network()
    with seeded(17):
        first = _scores(criterion, net)
    with seeded(4711):
        second = _scores(criterion, net)
    demand(all(torch.equal(s, second[name]) for name, s in first.items()), "two calls differ")


def _permutation(criterion: UnitCriterion) -> None:
    net = _network()
    plain = _scores(criterion, net)["0"]
    with torch.no_grad():
        for tensor in _of_first(net):
            tensor.copy_(tensor[list(ORDER)])
        _weight(net).copy_(_weight(net)[:, list(ORDER)])
    moved = _scores(criterion, net)["0"]
    demand(torch.allclose(moved, plain[list(ORDER)], rtol=1e-9), f"{moved.tolist()}, and before {plain.tolist()}")


def _of_first(net: nn.Module) -> list[Tensor]:
    """All that belongs to the first convolution's channels but what reads them."""
    names = ("0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var")
    return [net.state_dict()[name] for name in names]


def _weight(net: nn.Module) -> Tensor:
    weight: Tensor = net.state_dict()["4.weight"]
    return weight
