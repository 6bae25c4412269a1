"""Choices: which units stay, so that a cost is met: the lowest scores go first, in one ranking or site by site."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise

import torch
from torch import Tensor

from sapwood.currency import Keep, Scores
from sapwood.export.narrow import stronger
from sapwood.export.offers import Offer
from sapwood.selection import select
from sapwood.shrinking.cost import Cost
from sapwood.shrinking.tracing.site import Site

ALONE = 0.5  # of a site that all has to pass: what goes only when nothing else is left
PASSED_BY = 0.25  # of a site in a branch, which what it is added to passes by
TIERS = 3  # when nothing else is left, half of that, and then half of the half, goes last again


def cheapest(scores: Scores, offer: Offer) -> Keep:
    """The narrowest width of every site: one step, nothing where a branch may go."""
    return select.by_count(scores, {name: widths(offer, name, each.numel())[0] for name, each in scores.items()})


def guarded(scores: Scores, offer: Offer) -> Scores:
    """The same order inside every site, and the best of each behind everything else of all sites.

    That is its best half, or quarter in a branch of an addition: what it is added to passes it by. Sites whose scores
    are all low, as those of one kind of layer may be, would otherwise be emptied first; where all has to pass them, as
    at the narrow ends of a U-Net, nothing makes up for it. For the same reason the better half of narrow branches of
    the same shapes goes last.
    """
    most = max(float(each.max()) for each in scores.values()) - min(float(each.min()) for each in scores.values()) + 1
    best, found = stronger(scores, offer.narrow), dict(scores)
    for tier in range(TIERS):
        guard = select.by_count(scores, {site.name: _last(site, offer, best, tier) for site in offer.sites})
        found = {name: each + most * guard[name] for name, each in found.items()}
    return found


def _last(site: Site, offer: Offer, best: Collection[str], tier: int) -> int:
    """How many units of a site go last."""
    if site.name in offer.narrow:
        return offer.block(site.name) if site.name in best else 0
    share = PASSED_BY if site.name in offer.passed_by else ALONE
    return _up(share / 2**tier * site.units, offer.steps[site.name])


def ranked(scores: Scores, cost: Cost, limit: float, offer: Offer) -> Keep:
    """The fewest steps in one ranking over all sites after which `cost` is at most `limit`; then what still fits.

    A step is worth the mean of its units; the lowest units of a site that fill no step go first, together. The last
    step of a site stays, that of a narrow branch (a block) may go. Where the last step to go was a large one, much less
    than the limit may be left: the best of the steps that went and still fit come back, so that no further one fits.
    A lower limit costs less. InputError if the limit cannot be met.
    """
    every = {name: widths(offer, name, each.numel()) for name, each in scores.items()}
    steps = {name: _steps(each, every[name]) for name, each in scores.items()}

    def units(counts: Mapping[str, int]) -> Keep:
        return select.by_count(scores, {name: every[name][count] for name, count in counts.items()})

    def fits(counts: Mapping[str, int]) -> bool:
        return float(cost(units(counts))) <= limit

    fewest = _counted(select.within(steps, lambda keep: cost(units(_counted(keep))), limit))
    return units(_refilled(fewest, steps, fits))


def _counted(keep: Keep) -> dict[str, int]:
    return {name: int(kept.sum()) for name, kept in keep.items()}


def _refilled(counts: Mapping[str, int], steps: Scores, fits: Callable[[Mapping[str, int]], bool]) -> Mapping[str, int]:
    """How many steps stay with those that fit besides, the best first; where one does not fit, none is tried again."""
    narrower = [name for name in counts if counts[name] < len(steps[name])]
    while narrower:
        name = max(narrower, key=lambda name: float(steps[name][counts[name]]))
        wider = {**counts, name: counts[name] + 1}
        counts = wider if fits(wider) else counts
        if counts is not wider or counts[name] == len(steps[name]):
            narrower.remove(name)
    return counts


def widths(offer: Offer, name: str, units: int) -> list[int]:
    """The widths that a site with so many units may have, rising; 0 where its branch may go."""
    every, barred = _widths(units, offer.block(name), offer.steps[name]), offer.barred.get(name, ())
    may = [width for width in every if width not in barred]
    return [0, *may] if name in offer.narrow else may


def _widths(units: int, block: int, step: int) -> list[int]:
    """The widths of a site: a block, steps more, and its own."""
    return [*range(block, units, step), units]


def _steps(scores: Tensor, widths: Sequence[int]) -> Tensor:
    """What the steps of a site that may go are worth, the best first."""
    ranked = scores.sort(descending=True).values
    means = [ranked[low:high].mean() for low, high in pairwise(widths)]
    if not means:
        return scores.new_empty(0)
    return torch.stack(means).cummin(0).values  # so that rounding does not change their order


def uniform(scores: Scores, cost: Cost, limit: float, offer: Offer) -> Keep:
    """The same share of every site stays, the largest with which `cost` is at most `limit`, rounded down to steps.

    The highest scores of each site stay; a lower limit keeps a subset.
    """
    shares = _shares(offer)
    low, high = 0, len(shares) - 1  # the lowest share is one step of each site, which the caller has tried
    while low < high:
        middle = (low + high + 1) // 2
        fits = float(cost(_at(scores, offer, shares[middle]))) <= limit
        low, high = (middle, high) if fits else (low, middle - 1)
    return _at(scores, offer, shares[low])


def _up(number: float, step: int) -> int:
    """The next number of whole steps."""
    return math.ceil(number / step) * step


def _shares(offer: Offer) -> list[Fraction]:
    """All shares at which the width of some site changes, from 0 to 1."""
    widths = [(site.units, offer.steps[site.name]) for site in offer.sites]
    return sorted(
        {Fraction(0), Fraction(1), *(Fraction(n, units) for units, by in widths for n in range(by, units, by))}
    )


def _at(scores: Scores, offer: Offer, share: Fraction) -> Keep:
    counts = {}
    for site in offer.sites:
        step, kept = offer.steps[site.name], int(share * site.units)
        counts[site.name] = site.units if kept == site.units else max(step, kept - kept % step)
    return select.by_count(scores, counts)
