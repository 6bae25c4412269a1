"""Nearest: which of several strengths of a penalty has the course that is nearest to that of pruning, and how near."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from sapwood.study.equivalence import Within
from sapwood.study.finals import Number
from sapwood.study.seeds import minus
from sapwood.study.spectra_tables import distance_from
from sapwood.study.study import Finding
from sapwood.study.table import Table
from sapwood.study.words import Pairs, finding

Kinds = Mapping[str, Mapping[float, str]]  # of a penalty: {strength: its arm}


@dataclass(frozen=True)
class Nearest:
    """Kinds of penalties on a grid of strengths, beside the course of an arm that is pruned, and that of luck.

    Courses are compared by `finals.distance`, in the natural log. That the nearest is chosen by the seeds that it is
    then judged by favours it.
    """

    kinds: Kinds
    like: str
    luck: str
    layers: Sequence[int]
    margin: float

    @property
    def every(self) -> list[str]:
        """All arms with a penalty."""
        return [arm for arms in self.kinds.values() for arm in arms.values()]

    @cached_property
    def away(self) -> Number:
        """How far an arm's course is from that of `like`."""
        return distance_from(self.like, self.layers)

    def found(self, rows: Table) -> dict[str, bool]:
        """The nearest arm of each kind, and whether the grid closes around it: weaker and stronger ones were tried."""
        nearest = {}
        for arms in self.kinds.values():
            away = {at: fmean(seeds.values()) for at, arm in arms.items() if (seeds := self.away(rows, arm))}
            if away:
                best = min(away, key=lambda at: away[at])
                nearest[arms[best]] = min(away) < best < max(away)
        return nearest

    @property
    def asked(self) -> Within:
        """Is the nearest of each kind closer than luck is?"""
        return Within("distance of the nearest penalty minus that of luck", self._gaps, self.margin, "further",
                      "closer", "(natural log)", "lower")  # fmt: skip

    def _gaps(self, rows: Table) -> Pairs:
        return {arm: minus(self.away(rows, arm), self.away(rows, self.luck)) for arm in self.found(rows)}

    def finding(self, claim: str) -> Callable[[Table], Finding]:
        """What is found of a claim that pruning is like such a penalty."""

        def told(rows: Table) -> Finding:
            ends = [arm for arm, closed in self.found(rows).items() if not closed]
            grid = f"At an end of the strengths tried, others may be nearer: {', '.join(ends)}." if ends else (
                "Weaker and stronger ones are further.")  # fmt: skip
            return finding(claim, self.asked(rows), grid)._replace(standing=self.asked.standing(rows))

        return told
