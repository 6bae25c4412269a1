"""Bugs planted in methods that take filters out: how many go of each layer, which, and what is said of it."""

from contextlib import nullcontext
from importlib import import_module

import torch
from planted.mutant import bugs, instead

from sapwood.checks import Laws, method
from sapwood.checks.law import demand
from sapwood.checks.tiny import tiny_conv_task
from sapwood.masking import masks as mask
from sapwood.methods import METHODS
from sapwood.methods.parts import widths
from sapwood.selection import select
from sapwood.training.loop import train
from sapwood.training.run import Run, start

l1_filters = import_module("sapwood.methods.l1_filters")
drawn_filters, fewest, shrink = l1_filters.unit_scores, widths.fewest, Run.shrink
tiny = tiny_conv_task()
L1 = {"macs": 0.6, "allocation": "sensitivity", "epochs": 1, "tune": 1, "task": tiny}


def l1_laws():
    return method.laws("l1_filters", METHODS["l1_filters"], **L1)


def filter_laws() -> Laws:
    return {
        "filters: int(filters * (1 - ratio)) of each layer stay": _counts,
        "filters: those with the smallest sums go": _smallest,
        "filters: a scan leaves the network as it was, and sees what is lost": _scan,
    }


def _run(**options):
    run = start(tiny)
    list(METHODS["l1_filters"](run, **{"epochs": 0, "tune": 0} | options))
    return run.model, start(tiny).model


def _counts():
    for ratio, wanted in ((0.3, [2, 4, 5]), (0.9, [1, 1, 1]), (0.0, [4, 6, 8])):
        small, _ = _run(pruned=ratio)
        found = [len(layer.weight) for layer in (small[0], small[4], small[8])]
        demand(found == wanted, f"at {ratio} {found} stay, by hand {wanted}")


def _smallest():
    small, whole = _run(ratios="0=0.5")
    stay = whole[0].weight.abs().sum((1, 2, 3)).argsort()[2:].sort().values
    demand(torch.equal(small[0].weight, whole[0].weight[stay]), f"others than {stay.tolist()} stay")


def _scan():
    run = start(tiny)
    list(train(run, epochs=20))
    found = widths.removable(run)
    before = {name: p.clone() for name, p in run.model.state_dict().items()}
    scores = {site.name: torch.arange(float(site.units)) for site in found}
    lost = widths.sensitivity(run, scores, found, shares=(0.0, 0.9))
    demand(all(torch.equal(p, before[n]) for n, p in run.model.state_dict().items()), "the network is another one")
    demand([each[0] for each in lost.values()] == [0.0] * 3, f"nothing goes, and {lost} is lost")
    demand(any(each[1] for each in lost.values()), "nearly all of a layer goes, and nothing is lost anywhere")


def the_other_way(by, *given, **options):
    return {name: -s for name, s in drawn_filters(by, *given, **options).items()}


def rounded(scores, ratios, *, multiple=1):
    counts = {name: max(1, round(len(s) * (1 - ratios[name]))) for name, s in scores.items()}
    return select.by_count(scores, counts)


def signed(by, model, sites, *given, **options):
    return {site.name: model.get_submodule(site.name).weight.detach().flatten(1).sum(1) for site in sites}


def for_good(model, masks):
    mask.apply_(dict(model.named_parameters()), masks)
    return nullcontext()


def too_many_left(units, cost, limit, **options):
    return fewest(units, cost, 1.4 * limit, **options)


def chosen_anew(run, keep, sites):
    """What is chosen is not remembered."""
    chosen = keep() if callable(keep) else keep
    run.memory.get("remembered", {}).pop(f"cut {len(run.cuts) + 1}", None)
    return shrink(run, chosen, sites)


MUTANTS = (
    *bugs("method l1_filters", l1_laws, {
        "the network is rebuilt, and costs no more than was asked for": {
            "filters go until too many multiply-adds are left": instead(widths, "fewest", too_many_left),
        },
        "interrupted before any step and resumed: the same bits": {
            "filters are chosen anew by a resumed run": instead(Run, "shrink", chosen_anew),
        },
    }),
    *bugs("filters", filter_laws, {
        "int(filters * (1 - ratio)) of each layer stay": {
            "the number that stays is rounded to the nearest": instead(l1_filters, "by_ratios", rounded),
        },
        "those with the smallest sums go": {
            "the largest filters go": instead(l1_filters, "unit_scores", the_other_way),
            "signed weights are summed": instead(l1_filters, "unit_scores", signed),
        },
        "a scan leaves the network as it was, and sees what is lost": {
            "a scan prunes for good": instead(widths, "seen_through", for_good),
            "a scan looks at the whole network": instead(widths, "spread", lambda *_: {}),
        },
    }),
)  # fmt: skip
