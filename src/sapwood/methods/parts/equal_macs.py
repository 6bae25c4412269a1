"""Equal multiply-adds: other widths, other units and other masks that cost as much as a pruned network does.

What a pruned network is compared with to see whether its architecture is worth anything: if widths or places drawn by
luck do as well at the same price, what chose them is not why it works.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sapwood.currency import Keep, Masks, Scores
from sapwood.errors import InputError
from sapwood.measure.work import macs
from sapwood.methods.parts.controls import shuffled
from sapwood.methods.parts.widths import removable
from sapwood.selection import select
from sapwood.shrinking.cost import fewest, macs_of
from sapwood.shrinking.finding import sites
from sapwood.shrinking.tracing.site import Site
from sapwood.training.draws import luck
from sapwood.training.given import Given
from sapwood.training.run import Run
from sapwood.training.size import size

WIDTHS = ("pruned", "units", "uniform", "random")
FAVOUR = 3.0  # a random width is of a layer that keeps its units up to so many times as long, or as short


def macs_now(run: Run) -> int:
    """The multiply-adds of the run's network for one sample; of masked layers those of weights that are not 0."""
    if not run.masks:
        return run.size().macs
    dense, sparse = (sum(macs(run.model, run.task.example, sparse=each).values()) for each in (False, True))
    return run.size().macs - dense + sparse


def become_like(run: Run, like: Given, widths: str) -> Masks:
    """Give the run the network of another trial, or by `widths` one of its cost; returns the masks that belong to it.

    InputError if that network is neither smaller than the task's nor masked; if it is both, unless as it was "pruned".
    """
    if like.rebuilt + bool(like.masks) != 1 and not (like.rebuilt and widths == "pruned"):
        raise InputError(f"{widths} widths are those of a network that is smaller or masked, and the one named as like "
                         f"is {'both' if like.rebuilt else 'neither'}; name another trial")  # fmt: skip
    if widths == "pruned":
        run.become(like.network()) if like.rebuilt else run.rewind(like.weights)
        return dict(like.masks)
    if not like.rebuilt:
        return other_masks(run, like.masks, widths)
    counts, wanted = narrower(run, like.weights), size(like.network(), run.task.example)
    every = sites(run.apart.several)
    if widths != "units":
        streams = any(counts.get(site.name, site.units) < site.units and made_by(site) > 1 for site in every)
        return shrink_to(run, removable(run, streams), wanted.macs, widths)
    if gone := [site.name for site in every if site.name not in counts]:
        raise InputError(f"site {gone[0]!r} is not in the network named as like, from which its branch has been "
                         "removed; give uniform or random widths")  # fmt: skip
    run.shrink(lambda: select.by_count(_ranks(run, {s.name: s.units for s in every}, "other"), counts), every)
    if run.size() != wanted:
        raise InputError(f"as many units of each site make {run.size()}, and the network named as like is {wanted}")
    return {}


def shrink_to(run: Run, found: Sequence[Site], limit: float, how: str) -> Masks:
    """Take out units drawn by luck until at most `limit` multiply-adds are left; one unit more would cost more.

    "uniform": the same share of each site; "random": shares drawn by luck. Returns the masks that are left: none.
    """
    ranks = _ranks(run, {site.name: site.units for site in found}, how)
    run.shrink(lambda: fewest(ranks, macs_of(run.apart.one, found), limit), found)
    return {}


def other_masks(run: Run, masks: Mapping[str, Tensor], how: str) -> Masks:
    """Masks of the same layers at other places, drawn by luck, that leave as many multiply-adds as `masks` or less.

    "units": as many weights of each layer; "uniform": the same share of each layer; "random": shares drawn by luck.
    """
    if how == "units":
        return shuffled(dict(masks), run.seed)
    whole = {f"{name}.weight": count for name, count in macs(run.model, run.task.example).items()}
    layers = {name: keep for name, keep in masks.items() if name in whole}

    def cost(kept: Keep) -> int:
        return sum(whole[name] // keep.numel() * int(keep.count_nonzero()) for name, keep in kept.items())

    ranks = _ranks(run, {name: keep.numel() for name, keep in layers.items()}, how)
    found = select.within(ranks, cost, cost(layers))
    return {**masks, **{name: keep.view(layers[name].shape) for name, keep in found.items()}}


def narrower(run: Run, weights: Mapping[str, Tensor]) -> dict[str, int]:
    """How many units a smaller network with these weights has of each site of the run's, {site: units}.

    Sites of which it has nothing, as without the branch that they are in, are left out.
    """
    counts = {}
    for site in sites(run.apart.several):
        if not any(slot.tensor in weights for slot in site.slots):
            continue
        slot = next(site.at("makes"))
        each, pinned = (int((slot.unit_of == unit).sum()) for unit in (0, -1))
        left = (weights[slot.tensor].shape[slot.dim] - pinned) // each if slot.tensor in weights else 0
        if not 0 < left <= site.units:
            raise InputError(f"site {site.name!r} has {site.units} units here and {left} in the network that is named "
                             "as like; name one that was made of this task's network")  # fmt: skip
        counts[site.name] = left
    if not counts:
        raise InputError("no site of this task's network is in the network that is named as like; name one made of it")
    return counts


def made_by(site: Site) -> int:
    """How many layers make the units of a site: of a residual stream, more than one."""
    return len(list(site.at("makes")))


def _ranks(run: Run, sizes: Mapping[str, int], how: str) -> Scores:
    """Who stays longest: places in an order drawn by luck, as shares of their layer; in favoured layers longer."""
    ranks = {}
    for name, count in sizes.items():
        drawn = luck(run.seed, f"{how} widths of {name}")
        favour = FAVOUR ** (2 * float(torch.rand((), generator=drawn)) - 1) if how == "random" else 1.0
        ranks[name] = (torch.randperm(count, generator=drawn) + 1).double() / count * favour
    return ranks
