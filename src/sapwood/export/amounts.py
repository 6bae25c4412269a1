"""Amounts: how many units each place loses: the same share of all of a kind, or by one ranking over the model."""

import heapq
import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from torch import Tensor

from sapwood.errors import InputError, refuse_unless
from sapwood.export.inside import HEADS, KINDS, WIDTHS, Inside, Place

Sparsity = float | Mapping[str, float]
Counts = dict[str, int]  # {site: how many units go}
LEAST = 0.25  # of a place's units stays in any case where one ranking decides


def share_of(sparsity: Sparsity) -> Sparsity:
    """What was asked for, known to make sense."""
    if not isinstance(sparsity, Mapping):
        return _share("sparsity", sparsity)
    if not sparsity:
        raise InputError("sparsity is {}; give a share for each kind, as in {'heads': 0.25, 'widths': 0.2}")
    for kind, value in sparsity.items():
        refuse_unless("kind of units in sparsity", kind, KINDS)
        _share(f"the sparsity of {kind}", value)
    return {kind: float(value) for kind, value in sparsity.items()}


def refuse_absent(sparsity: Sparsity, found: Inside, model: object) -> None:
    """InputError where units are asked for of a kind that there is none of."""
    for kind in sparsity if isinstance(sparsity, Mapping) else ():
        if not found.of_kind(kind):
            why = next((f": {pin.name!r} stays, as {pin.because}" for pin in found.stays), "")
            raise InputError(f"sparsity asks for {kind}, of which {type(model).__name__} has none that can go{why}")


def alike(found: Inside, sparsity: Sparsity) -> Counts:
    """The same share of all places of a kind: of heads the nearest whole number; widths make up the share of weights.

    A number asks for that share of all weights in the blocks' layers, a dict for shares of units.
    """
    if isinstance(sparsity, Mapping):
        return {p.name: p.near(sparsity.get(p.kind, 0.0) * p.site.units) for p in found.places}
    counts = {p.name: p.near(sparsity * p.site.units) for p in found.of_kind(HEADS)}
    if widths := found.of_kind(WIDTHS):
        left = sparsity * found.weights - sum(counts[p.name] * p.weights for p in found.of_kind(HEADS))
        share = max(0.0, left) / sum(p.site.units * p.weights for p in widths)
        counts |= {p.name: p.near(share * p.site.units) for p in widths}
    return counts


def ranked(found: Inside, sparsity: Sparsity, losses: Mapping[str, Tensor]) -> Counts:
    """In one ranking over all places, or over those of each kind, the steps go that lose least for each weight.

    `losses` are what units lose, {site: [units]}. A quarter of each place stays. As many weights go as is nearest to
    what was asked for.
    """
    if not isinstance(sparsity, Mapping):
        return _lowest(found.places, sparsity * found.weights, losses)
    counts: Counts = {place.name: 0 for place in found.places}
    for kind, share in sparsity.items():
        places = found.of_kind(kind)
        counts |= _lowest(places, share * sum(p.site.units * p.weights for p in places), losses)
    return counts


def _lowest(places: Sequence[Place], weights: float, losses: Mapping[str, Tensor]) -> Counts:
    counts, gone = {place.name: 0 for place in places}, 0
    steps = [deque(_steps(place, losses[place.name])) for place in places]
    heap = [(each[0].loss, at) for at, each in enumerate(steps) if each]
    heapq.heapify(heap)
    while heap:
        place, following = places[at := heapq.heappop(heap)[1]], steps[at]
        size = following.popleft().units
        if gone + size * place.weights / 2 > weights:
            continue  # too large a step; smaller ones of other places may still do
        counts[place.name], gone = counts[place.name] + size, gone + size * place.weights
        if following:
            heapq.heappush(heap, (following[0].loss, at))
    return counts


class _Step(NamedTuple):
    """Units that go together."""

    units: int
    loss: float  # for each of their weights


def _steps(place: Place, losses_U: Tensor) -> Iterator[_Step]:
    """The steps that may go, the lowest first."""
    losses = losses_U.detach().cpu().double().sort().values / place.weights
    for before, after in pairwise(place.may):
        if place.site.units - after >= LEAST * place.site.units:
            yield _Step(after - before, float(losses[before:after].mean()))


def _share(what: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1 or math.isnan(value):
        raise InputError(f"{what} is {value!r}; it is the fraction removed and must lie in [0, 1)")
    return float(value)
