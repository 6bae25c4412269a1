"""Bugs planted in methods that thin layers out: ThiNet, widths of soft filters, scales that are drawn."""

from dataclasses import replace
from functools import cache, partial
from importlib import import_module

import torch
from planted.mutant import bugs, instead
from torch import nn
from torch.optim import SGD

from sapwood.checks import Laws, method
from sapwood.checks.law import demand
from sapwood.checks.tiny import tiny_conv_task
from sapwood.methods import METHODS
from sapwood.methods.parts.widths import Asked
from sapwood.scoring.layers import norm_scales
from sapwood.selection import select
from sapwood.shrinking.cost import macs_of
from sapwood.shrinking.finding import sites
from sapwood.training.loop import descend, train
from sapwood.training.run import start

thinet, soft_filter, slimming = (
    import_module(f"sapwood.methods.{name}") for name in ("thinet", "soft_filter", "network_slimming")
)
tiny = tiny_conv_task()
found_sites, drop = thinet.sites, select.drop
WITHIN = "of each layer the same share is left, and with one unit more of some layer too much"
ORDER = "layers are thinned from the inputs on"
DRAWN = "a step draws scales by their sign, beside the gradient of the loss"
RANKED = "channels go by the size of their scales, over all layers, and the last one stays"


def thinet_laws() -> Laws:
    return method.laws("thinet", METHODS["thinet"], kept=0.5, epochs=1, between=0, recover=1, task=tiny)


def laws() -> Laws:
    bodies = {WITHIN: _within, ORDER: _in_order, DRAWN: _drawn, RANKED: _ranked}
    return {f"thinning: {law}": body for law, body in bodies.items()}


@cache
def _whole():
    run = start(tiny)
    return macs_of(run.model, sites(run.apart.several), run.task.example)


def _within():
    for name, options in (("thinet", {"between": 0, "recover": 0}), ("soft_filter", {})):
        run, count = start(tiny), _whole()
        list(METHODS[name](run, epochs=0, macs=0.6, **options))
        keep = {name: kept for cut in run.cuts for name, kept in cut.keep.items()}
        most, left = 0.6 * float(count({})), float(count(keep))
        more = [{**keep, n: torch.arange(len(kept)) < int(kept.sum()) + 1} for n, kept in keep.items()]
        demand(left <= most < max(float(count(each)) for each in more), f"{name}: {left} are left, {most} may be")
        shares = [((int(kept.sum()) - 1) / len(kept), (int(kept.sum()) + 1) / len(kept)) for kept in keep.values()]
        demand(max(low for low, _ in shares) < min(high for _, high in shares), f"{name}: shares within {shares}")


def _in_order():
    run, still = start(tiny), start(tiny)
    list(METHODS["thinet"](run, kept=0.5, epochs=0, between=0, recover=0, samples=1000))
    names = [name for cut in run.cuts for name in cut.keep]
    wanted = [site.name for site in sites(still.apart.one)]
    demand(names == wanted, f"thinned in the order {names}")


def _drawn():
    task, ends = replace(tiny, optimizer=partial(SGD, lr=0.1)), []
    for options in ({}, {"update": partial(slimming.drawn, strength=0.3)}):
        run = start(task)
        for scale in norm_scales(run.model).values():
            scale.detach().copy_(torch.linspace(-0.5, 0.7, len(scale)))
        before = {name: scale.detach().clone() for name, scale in norm_scales(run.model).items()}
        list(train(run, steps=1, **options))
        ends.append({name: scale.detach() for name, scale in norm_scales(run.model).items()})
    for name, scale in ends[1].items():
        wanted = ends[0][name] - 0.1 * 0.3 * before[name].sign()
        demand(torch.allclose(scale, wanted, rtol=1e-9, atol=1e-12), f"{name} is drawn to {scale.tolist()}")


def _normed(*scales):
    layers = [nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 1), nn.BatchNorm2d(3), nn.ReLU()]
    net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(48, 3)).double()
    for norm, each in zip((net[1], net[4]), scales, strict=True):
        norm.weight.detach().copy_(torch.tensor(each))
    return net


def _ranked():
    """Three of seven go, and four."""
    for share, first, second, stays in (
        (0.45, [0.9, -0.2, 0.01, 0.3], [0.5, 0.6, -0.8], ["1000", "111"]),
        (0.6, [0.9, -0.7, 0.01, 0.3], [0.02, -0.04, 0.03], ["1100", "010"]),
    ):
        run = start(replace(tiny, model=partial(_normed, first, second)))
        keep = slimming.chosen(run, sites(run.apart.several), 1.0, share)
        words = ["".join(map(str, each.int().tolist())) for each in keep.values()]
        demand(words == stays, f"{words} stay, by hand {stays}")


def as_it_was(layer, w_OI, like):
    return like.detach().clone()


def without_macs(found, pruned, ratios, macs, *rest):
    return Asked(found, pruned, ratios, 0.0, *rest)


def of_what_goes(found, pruned, ratios, macs, *rest):
    return Asked(found, pruned, ratios, 1 - macs if macs else macs, *rest)


def by_one_layer(asked, run):
    """All that goes is taken from the first layer that has enough."""
    every = {site.name: torch.arange(float(site.units)) + 100 * at for at, site in enumerate(asked.found)}
    keep = select.within(every, macs_of(run.apart.one, asked.found), asked.macs * run.reference.macs, least=1)
    return {name: int(kept.sum()) for name, kept in keep.items()}


def backwards(anatomy):
    return tuple(reversed(found_sites(anatomy)))


def in_proportion(run, batch, *, strength):
    outputs, loss = descend(run, batch)
    for scale in norm_scales(run.model).values():
        scale.grad = scale.grad + strength * scale.detach()
    return outputs, loss


def alone(run, batch, *, strength):
    """Nothing but the draw is left of the gradient."""
    outputs, loss = descend(run, batch)
    for scale in norm_scales(run.model).values():
        scale.grad = strength * scale.detach().sign()
    return outputs, loss


def layer_by_layer(scores, count, *, least):
    share = count / sum(map(len, scores.values()))
    return {name: drop({name: s}, round(share * len(s)), least=least)[name] for name, s in scores.items()}


MUTANTS = (
    *bugs("method thinet", thinet_laws, {
        "weights become what was solved for, even where training moves none": {
            "the layer behind keeps its weights": instead(thinet, "shaped", as_it_was),
        },
    }),
    *bugs("thinning", laws, {
        WITHIN: {
            "thinet keeps its share, whatever is asked for": instead(thinet, "Asked", without_macs),
            "a soft filter's budget says what goes": instead(soft_filter, "Asked", of_what_goes),
            "one layer pays for all": instead(Asked, "widths", by_one_layer),
        },
        ORDER: {"layers are thinned from the outputs on": instead(thinet, "sites", backwards)},
        DRAWN: {
            "scales are drawn in proportion, as by weight decay": instead(slimming, "drawn", in_proportion),
            "drawing takes the place of the loss": instead(slimming, "drawn", alone),
        },
        RANKED: {
            "each layer loses the same share of its channels": instead(slimming.select, "drop", layer_by_layer),
            "a layer may lose its last channel": instead(
                slimming.select, "drop", lambda scores, count, *, least: drop(scores, count, least=0)
            ),
        },
    }),
)  # fmt: skip
