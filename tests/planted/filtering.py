"""Bugs planted in methods that remove filters: how many of each layer, which ones, and what the notes say."""

from contextlib import nullcontext
from importlib import import_module

import torch
from planted.mutant import bugs, instead

from sapwood.checks import Laws, method
from sapwood.checks.law import demand
from sapwood.checks.tiny import tiny_conv_task
from sapwood.criteria import CRITERIA
from sapwood.masking import masks as mask
from sapwood.methods import METHODS
from sapwood.methods.parts import widths
from sapwood.scoring.criterion import score
from sapwood.selection import select
from sapwood.training.loop import train
from sapwood.training.run import Run, start

l1_filters, soft_filter, unstructured = (
    import_module(f"sapwood.methods.{name}") for name in ("l1_filters", "soft_filter", "unstructured_magnitude")
)
drawn_filters, fewest, shrink = l1_filters.unit_scores, widths.fewest, Run.shrink
spread, zero = soft_filter.spread, soft_filter.zero
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


def soft_laws() -> Laws:
    return method.laws("soft_filter", METHODS["soft_filter"], pruned=0.5, epochs=3, task=tiny) | {
        "method soft_filter: the weakest filters are 0 at the end of each epoch, and only they": _zero,
        "method soft_filter: filters that were zeroed move": _moving,
    }


def magnitude_laws() -> Laws:
    about = {"sparsity": 0.6, "epochs": 1, "tune": 1, "reaches": 0.6, "task": tiny}
    return method.laws("unstructured_magnitude", METHODS["unstructured_magnitude"], **about) | {
        "method unstructured_magnitude: one threshold parts the weights of all convolutions": _threshold,
    }


def _zero():
    run = start(tiny)
    for now in METHODS["soft_filter"](run, pruned=0.5, epochs=2):
        if now.ends_epoch:
            zeros = [int((run.model[at].weight.flatten(1) == 0).all(1).sum()) for at in (0, 4, 8)]
            demand(zeros == [2, 3, 4], f"{zeros} filters are 0, by hand 2, 3 and 4")
            demand(all(bool((run.model[at].weight != 0).all()) for at in (1, 5)), "norms are 0 as well")


def _moving():
    run = start(tiny)
    with torch.no_grad():
        run.model[1].bias.fill_(0.3)
    moments = METHODS["soft_filter"](run, pruned=0.5, epochs=1)
    for now in moments:
        demand(
            bool((run.model[0].weight.flatten(1) != 0).all()) or now.ends_epoch, "filters of 0 stay 0 while it trains"
        )


def _threshold():
    run, whole = start(tiny), start(tiny)
    list(METHODS["unstructured_magnitude"](run, sparsity=0.5, epochs=0, tune=0))
    masks = [run.masks[name] for name in ("0.weight", "4.weight")]
    sizes = [whole.model.get_parameter(name).detach().abs() for name in ("0.weight", "4.weight")]
    gone = max(float(s[~keep].max()) for s, keep in zip(sizes, masks, strict=True))
    stay = min(float(s[keep].min()) for s, keep in zip(sizes, masks, strict=True))
    demand(gone < stay, f"{gone} is gone and {stay} stays")
    demand(set(run.masks) == {"0.weight", "4.weight"}, f"{', '.join(run.masks)} are pruned")


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


def each_alone(run, layers, sparsity):
    return select.per_layer(score(run.model, CRITERIA["magnitude"], only=layers), sparsity)


def all_of_it(model, keep, sites, **options):
    return spread(model, keep, sites)


def frozen(run, found, keep):
    """Zeroed filters are pruned for as long as the network trains."""
    run.prune(spread(run.model, keep, found, roles=("makes",)))
    zero(run, found, keep)


def once(run, found, keep):
    if run.step == 0:
        zero(run, found, keep)


def put_on_once(run, masks):
    mask.apply_(dict(run.model.named_parameters()), masks)
    run.masks = dict(masks)


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
    *bugs("method soft_filter", soft_laws, {
        "the weakest filters are 0 at the end of each epoch, and only they": {
            "norms are zeroed with their filters": instead(soft_filter, "spread", all_of_it),
            "filters are zeroed before training only": instead(soft_filter, "zero", once),
        },
        "filters that were zeroed move": {"filters of 0 are held there": instead(soft_filter, "zero", frozen)},
    }),
    *bugs("method unstructured_magnitude", magnitude_laws, {
        "one threshold parts the weights of all convolutions": {
            "each layer has a threshold of its own": instead(unstructured, "smallest", each_alone),
            "dense layers are pruned as well": instead(unstructured, "CONVOLUTIONS", (torch.nn.Module,)),
        },
        "masked weights are 0 at every moment": {
            "masks are put on once and not held": instead(Run, "prune", put_on_once),
        },
    }),
    *bugs("filters", filter_laws, {
        "int(filters * (1 - ratio)) of each layer stay": {
            "the number that stays is rounded to the nearest": instead(widths, "by_ratios", rounded),
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
