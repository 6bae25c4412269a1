"""Hurried: the largest network that a clock finds fast enough, in widths that its engine likes."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Generic, Protocol, TypeVar

from sapwood.currency import Keep
from sapwood.errors import InputError
from sapwood.export.choices import cheapest
from sapwood.export.deadline import PARTS, climbed, first_made, largest
from sapwood.export.liked import Judge, joined
from sapwood.export.search import Search
from sapwood.export.targets import Target
from sapwood.shrinking.cost import Cost

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Widths = tuple[int, ...]
NEAR = 0.03  # of the time that may be left: less is not worth looking for
MOST = 12  # times that the largest network is looked for


class Clock(Protocol[T_co]):
    """Builds networks and times them beside the whole one."""

    def quick(self, keep: Keep) -> float:
        """How much of the time that it may take a network takes, up to 1 if it is fast enough; measured shortly."""

    def sure(self, keep: Keep) -> float:
        """The same, measured for longer."""

    def made(self, keep: Keep) -> T_co | None:
        """The network, proven and measured once more; None if it is too slow this time."""

    def ratio(self, one: Keep, other: Keep) -> float:
        """How many times as long the other network takes."""


def in_time(search: Search, clock: Clock[T], target: Target) -> T:
    """What the clock makes of the largest network that is fast enough; InputError if the smallest is not.

    Widths that take as long as wider ones are left out, and the largest network is looked for again, until none of its
    widths is such a one. Where the next step of the ranking takes too long and much time is left, as where that step is
    a whole branch, its site gets no wider, and the others go on. With `uniform` all widths are taken as they come.
    """
    work = search.work
    first = sizes = _Sizes(search, clock, work, float(work({})))
    judge = Judge(clock.ratio, lambda keep: float(work(keep)))
    if target.is_share:  # near this size are most of the widths that will be met
        sizes = sizes.liked(judge, target.value)
    part = sizes.largest()
    for _ in range(MOST):
        better = sizes.liked(judge, part / PARTS)
        better = sizes.without_the_next(part) if better is sizes else better
        if better is sizes:
            break
        sizes, part = better, better.largest()
    try:
        return sizes.made(part)
    except InputError as error:
        try:  # a width that is not liked may be narrower than all that are
            if sizes is first:
                raise
            return first.made(first.largest())
        except InputError:
            raise InputError(f"{target} cannot be met: {error}, or a smaller multiple=; {search.stays()}") from error


@dataclass
class _Sizes(Generic[T]):
    """The networks of a search by their share of the work, and what the clock has said of them."""

    search: Search
    clock: Clock[T]
    work: Cost
    whole: float  # the work of the whole network
    quick: dict[Widths, float] = field(default_factory=dict)

    def at(self, share: float) -> Keep:
        """The network with a share of the work, or the smallest."""
        return self.search.chosen(self.work, max(share, self.smallest / PARTS) * self.whole)

    @cached_property
    def smallest(self) -> int:
        """How many parts of the work the smallest network has."""
        least = float(self.work(cheapest(self.search.scores, self.search.offer)))
        return max(1, math.ceil(least / self.whole * PARTS))

    def largest(self) -> int:
        """How many parts the largest network has that is fast enough."""
        return largest(lambda share: self._asked(self.quick, self.clock.quick, share) <= 1, self.smallest)

    def liked(self, judge: Judge, share: float) -> "_Sizes[T]":
        """The sizes without the widths that a network has and that are not liked; itself if all are."""
        offer, scores = self.search.offer, self.search.scores
        barred = {} if self.search.uniform else judge.disliked(self.search.anatomy.model, offer, scores, self.at(share))
        if not barred:
            return self
        return self._barring(barred)

    def without_the_next(self, part: int) -> "_Sizes[T]":
        """The sizes in which the site whose next step takes too long gets no wider; itself if little time is left."""
        keep = self.at(part / PARTS)
        if self.search.uniform or not self._asked(self.quick, self.clock.quick, part / PARTS) < 1 - NEAR:
            return self
        for more in range(part + 1, PARTS):
            larger = self.at(more / PARTS)
            wider = [name for name, kept in keep.items() if int(larger[name].sum()) > int(kept.sum())]
            if wider:
                name = max(wider, key=lambda name: float(self.work({**keep, name: larger[name]})))
                return self._barring({name: set(range(int(keep[name].sum()) + 1, len(keep[name]) + 1))})
        return self

    def _barring(self, barred: Mapping[str, set[int]]) -> "_Sizes[T]":
        """The sizes without these widths."""
        offer = replace(self.search.offer, barred=joined(self.search.offer.barred, barred))
        return _Sizes(replace(self.search, offer=offer), self.clock, self.work, self.whole, self.quick)

    def made(self, part: int) -> T:
        """What the clock makes of the network with so many parts, of a larger or of a smaller one."""
        sure, tried = {_widths(self.at(part / PARTS)): 1.0}, set[Widths]()

        def once(share: float) -> T | None:
            keep = self.at(share)
            if _widths(keep) in tried:  # measured again until it fits, anything would fit
                return None
            tried.add(_widths(keep))
            return self.clock.made(keep)

        low = climbed(lambda share: self._asked(sure, self.clock.sure, share) <= 1, part)
        return first_made(once, low, self.smallest)

    def _asked(self, known: dict[Widths, float], ask: Callable[[Keep], float], share: float) -> float:
        """How much of its time the network with a share of the work takes, each asked for once."""
        keep = self.at(share)
        if _widths(keep) not in known:
            known[_widths(keep)] = ask(keep)
        return known[_widths(keep)]


def _widths(keep: Keep) -> Widths:
    """How many units of every site stay, which says which."""
    return tuple(int(kept.sum()) for kept in keep.values())
