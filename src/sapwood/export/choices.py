"""Choices: which units stay, so that a cost is met: the lowest scores go first, in one ranking or site by site."""

import math
from collections.abc import Mapping
from fractions import Fraction

import torch
from torch import Tensor

from sapwood.currency import Keep, Scores
from sapwood.export.offers import Offer
from sapwood.selection import select
from sapwood.shrinking.costs.cost import Cost

LAST = 0.25  # of every site: what goes only when nothing else is left


def cheapest(scores: Scores, offer: Offer) -> Keep:
    """One step of every site: the least that can stay."""
    return select.by_count(scores, offer.least)


def guarded(scores: Scores, offer: Offer) -> Scores:
    """The same order inside every site, and the best quarter of each behind everything else of all sites.

    Sites whose scores are all low, as those of one kind of layer may be, would otherwise be emptied first.
    """
    most = max(float(each.max()) for each in scores.values()) - min(float(each.min()) for each in scores.values()) + 1
    counts = {site.name: _up(LAST * site.units, offer.steps[site.name]) for site in offer.sites}
    best = select.by_count(scores, counts)
    return {name: each + most * best[name] for name, each in scores.items()}


def ranked(scores: Scores, cost: Cost, limit: float, offer: Offer) -> Keep:
    """The fewest steps in one ranking over all sites after which `cost` is at most `limit`.

    A step is worth the mean of its units; the lowest units of a site that fill no step go first, together. A lower
    limit keeps a subset. InputError if the limit cannot be met.
    """
    steps = {name: _steps(each, offer.steps[name]) for name, each in scores.items()}

    def units(keep: Mapping[str, Tensor]) -> Keep:
        counts = {n: _units(int(k.sum()), k.numel(), offer.steps[n], scores[n].numel()) for n, k in keep.items()}
        return select.by_count(scores, counts)

    return units(select.within(steps, lambda keep: cost(units(keep)), limit))


def _steps(scores: Tensor, step: int) -> Tensor:
    """What the steps of a site that may go are worth, the best first: all but one."""
    rest = scores.sort(descending=True).values[step:]
    means = [rest[at : at + step].mean() for at in range(0, len(rest), step)]
    return torch.stack(means).cummin(0).values  # so that rounding does not change their order


def _units(kept: int, steps: int, step: int, units: int) -> int:
    """How many units stay where `kept` of the `steps` that may go do."""
    return units if kept == steps else step * (kept + 1)


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
