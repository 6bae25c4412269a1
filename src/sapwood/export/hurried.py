"""Hurried: the largest network that a clock finds fast enough, in widths that its engine likes."""

import math
from collections.abc import Callable
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
from sapwood.shrinking.costs.cost import Cost

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Widths = tuple[int, ...]


class Clock(Protocol[T_co]):
    """Builds networks and times them beside the whole one."""

    def quick(self, keep: Keep) -> bool:
        """Whether a network is fast enough, measured shortly."""

    def sure(self, keep: Keep) -> bool:
        """The same, measured for longer."""

    def made(self, keep: Keep) -> T_co | None:
        """The network, proven and measured once more; None if it is too slow this time."""

    def ratio(self, one: Keep, other: Keep) -> float:
        """How many times as long the other network takes."""


def in_time(search: Search, clock: Clock[T], target: Target) -> T:
    """What the clock makes of the largest network that is fast enough; InputError if the smallest is not.

    Widths that take as long as wider ones are left out, and the largest network is looked for again, until none of its
    widths is such a one. With `uniform` all widths are taken as they come.
    """
    work = search.work
    first = sizes = _Sizes(search, clock, work, float(work({})))
    judge = Judge(clock.ratio, lambda keep: float(work(keep)))
    if target.is_share:  # near this size are most of the widths that will be met
        sizes = sizes.liked(judge, target.value)
    part = sizes.largest()
    while (better := sizes.liked(judge, part / PARTS)) is not sizes:
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
    quick: dict[Widths, bool] = field(default_factory=dict)

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
        return largest(lambda share: self._asked(self.quick, self.clock.quick, share), self.smallest)

    def liked(self, judge: Judge, share: float) -> "_Sizes[T]":
        """The sizes without the widths that a network has and that are not liked; itself if all are."""
        offer, scores = self.search.offer, self.search.scores
        barred = {} if self.search.uniform else judge.disliked(self.search.anatomy.model, offer, scores, self.at(share))
        if not barred:
            return self
        found = replace(self.search, offer=replace(offer, barred=joined(offer.barred, barred)))
        return _Sizes(found, self.clock, self.work, self.whole, self.quick)

    def made(self, part: int) -> T:
        """What the clock makes of the network with so many parts, of a larger or of a smaller one."""
        sure, tried = {_widths(self.at(part / PARTS)): True}, set[Widths]()

        def once(share: float) -> T | None:
            keep = self.at(share)
            if _widths(keep) in tried:  # measured again until it fits, anything would fit
                return None
            tried.add(_widths(keep))
            return self.clock.made(keep)

        low = climbed(lambda share: self._asked(sure, self.clock.sure, share), part)
        return first_made(once, low, self.smallest)

    def _asked(self, known: dict[Widths, bool], ask: Callable[[Keep], bool], share: float) -> bool:
        """Whether the network with a share of the work is fast enough, each asked for once."""
        keep = self.at(share)
        if _widths(keep) not in known:
            known[_widths(keep)] = ask(keep)
        return known[_widths(keep)]


def _widths(keep: Keep) -> Widths:
    """How many units of every site stay, which says which."""
    return tuple(int(kept.sum()) for kept in keep.values())
