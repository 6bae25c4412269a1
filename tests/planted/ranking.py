"""Bugs planted in what criteria say of units: which member counts how, and what is looked at."""

from dataclasses import replace
from functools import partial
from unittest.mock import patch

import torch
from planted.mutant import bugs, instead
from torch import nn

from sapwood.checks import Laws, unit_criterion
from sapwood.checks.law import demand
from sapwood.checks.tiny import seeded, tiny_conv_task
from sapwood.criteria import UNIT_CRITERIA
from sapwood.export import members as ranking
from sapwood.models.resnet_cifar import resnet_cifar
from sapwood.shrinking.finding import sites
from sapwood.training.task import Batch

laid, watched, layers, members = ranking._laid, ranking._watched, ranking._layers, ranking._members


def of(name):
    return partial(lambda: unit_criterion.laws(name, UNIT_CRITERIA[name]))


L1, TAYLOR = of("l1"), of("taylor_unit")


def scoring(name, wrong):
    """The criterion's formula replaced."""
    return partial(patch.dict, UNIT_CRITERIA, {name: replace(UNIT_CRITERIA[name], score=wrong)})


def ranking_laws() -> Laws:
    return {
        "unit scores: all producers of a stream count alike": _stream,
        "unit scores: outputs are looked at behind the norm": _behind,
        "unit scores: signs of samples do not cancel": _signs,
        "unit scores: of a group all that would go counts": _group,
    }


def _net(model):
    with seeded(0):
        net = model()
        for norm in (m for m in net.modules() if isinstance(m, nn.BatchNorm2d)):
            nn.init.normal_(norm.weight)
            nn.init.normal_(norm.bias)
    return net


def _stream():
    net = _net(partial(resnet_cifar, 8, width=4, classes=3, dtype=torch.float64))
    found = sites(net, torch.zeros(2, 3, 8, 8, dtype=torch.float64))
    stream = max(found, key=lambda site: len(site.slots))
    sums = []
    for slot in stream.at("makes"):
        each = net.get_parameter(slot.tensor).detach().abs().sum((1, 2, 3))
        sums.append(torch.stack([each[slot.unit_of == u].sum() for u in range(stream.units)]))
    seen, wanted = ranking.unit_scores("l1", net, found, tiny_conv_task())[stream.name], torch.stack(sums).mean(0)
    demand(torch.allclose(seen, wanted), f"{seen.tolist()}, by hand {wanted.tolist()}")


def _scores(by, net, batches=None):
    task = tiny_conv_task()
    return ranking.unit_scores(by, net, sites(net, task.examples), task, batches or [task.data.train])


def _behind():
    net = _net(tiny_conv_task().model)
    seen, x = _scores("apoz", net)["0"], tiny_conv_task().data.train.inputs
    net.eval()
    with torch.no_grad():
        wanted = (net[:2](x) > 0).double().mean((0, 2, 3))
    demand(torch.allclose(seen, wanted), f"{seen.tolist()}, by hand {wanted.tolist()}")


def _signs():
    """Sample by sample: the sizes add up."""
    net, train = _net(tiny_conv_task().model), tiny_conv_task().data.train
    task = tiny_conv_task()
    found = sites(net, task.examples)
    alone = [
        ranking.unit_scores("taylor_unit", net, found, task, [Batch(x[None], y[None])], norm="none")["4"]
        for x, y in zip(*train.take(slice(0, 6)), strict=True)
    ]
    seen = ranking.unit_scores("taylor_unit", net, found, task, [train.take(slice(0, 6))], norm="none")["4"]
    demand(
        torch.allclose(seen, torch.stack(alone).mean(0)), f"{seen.tolist()}, one by one {torch.stack(alone).mean(0)}"
    )


def _group():
    net = _net(tiny_conv_task().model)
    seen = _scores("group_l1", net)["0"]
    made, read = net[0].weight.abs().sum((1, 2, 3)), net[4].weight.abs().sum((0, 2, 3))
    wanted = (made + net[1].weight.abs() + read).detach()
    demand(torch.allclose(seen, wanted), f"{seen.tolist()}, by hand {wanted.tolist()}")


def first_only(found):
    return lambda judge, site, norms: iter(list(found(judge, site, norms))[:1])


def before_the_norm(name, its):
    return [replace(point, layer=(point.layer or "").replace("1", "0", 1)) for point in layers(name, its)]


def left_hooked(*given):
    found = list(watched(*given))
    given[1].register_forward_hook(lambda *_: None)
    return iter(found)


def by_position(y, point, name):
    return laid(y, point, name) * torch.arange(1, point.unit_of.max() + 2).view(-1, *[1] * (y.dim() - 2))


def by_own_mean(w_UR):
    return w_UR.double().abs().sum(1) / w_UR.double().abs().sum(1)


MUTANTS = (
    *bugs("unit criterion l1", L1, {
        "a unit without any weights left has a finite score": {
            "sums are divided by themselves": scoring("l1", by_own_mean),
        },
        "the same bits twice": {"luck decides": scoring("l1", lambda w_UR: torch.rand(len(w_UR)).double())},
        "there is one finite number for each unit": {
            "scores of inputs in place of outputs": scoring("l1", lambda w_UR: w_UR.double().abs().sum(0)),
        },
    }),
    *bugs("unit criterion taylor_unit", TAYLOR, {
        "nothing is touched: weights, gradients, mode, hooks, random state": {
            "hooks stay": instead(ranking, "_watched", left_hooked),
        },
        "permuting units permutes scores": {
            "units count by their place": instead(ranking, "_laid", by_position),
        },
    }),
    *bugs("unit scores", ranking_laws, {
        "all producers of a stream count alike": {
            "of a stream only its first layer counts": instead(ranking, "_members", first_only(members)),
        },
        "outputs are looked at behind the norm": {
            "outputs are those before the norm": instead(ranking, "_layers", before_the_norm),
        },
        "signs of samples do not cancel": {
            "the size is taken of the sum over samples": scoring(
                "taylor_unit", lambda ga: ga.double().reshape(*ga.shape[:2], -1).mean(2).sum(0).abs()),
        },
        "of a group all that would go counts": {
            "members' mean in place of their sum": partial(patch.dict, UNIT_CRITERIA, {
                "group_l1": replace(UNIT_CRITERIA["group_l1"], group="mean")}),
        },
    }),
)  # fmt: skip
