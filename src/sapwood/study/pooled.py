"""Pooled: questions that the mean of several comparisons answers, and claims of at least or at most so much."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from sapwood.study.asked import MISSING
from sapwood.study.finals import Number, goal_value
from sapwood.study.grid import Grid
from sapwood.study.questions import Gaps
from sapwood.study.seeds import Seeds, minus, summed_up, together
from sapwood.study.study import Finding
from sapwood.study.table import Summary, Table
from sapwood.study.words import difference, told

HOLDS, FAILS, OPEN = "holds", "does not hold", "cannot be told from these seeds"
JUDGED = {HOLDS: "hold", FAILS: "do not hold", OPEN: OPEN}  # of one claim, and of several


class Pooled(NamedTuple):
    """A question about test accuracy in pairs of arms, {what is compared: (one, other)}, one minus the other."""

    what: str
    claim: str
    pairs: Mapping[str, tuple[str, str]]
    number: Number = goal_value

    def found(self, rows: Table) -> tuple[Summary | None, int]:
        """The mean over the comparisons that there are, seed by seed, and how many these are."""
        gaps = Gaps(self.number, self.pairs)(rows)
        return summed_up(together(gaps.values(), fmean)) if gaps else None, len(gaps)

    def answer(self, rows: Table) -> str:
        """One sentence."""
        found, count = self.found(rows)
        if found is None:
            return MISSING
        of = "one pruned network" if count == 1 else f"{count} pruned networks"
        return f"Test accuracy, {self.what}, mean of {of}: {difference(found)} points; {told(found, 'more', 'less')}."


class Bound(NamedTuple):
    """A number, {seed: points} of the rows, that a claim says is at least, or at most, so much."""

    what: str
    claim: str
    seeds: Callable[[Table], Seeds]
    least: float = -math.inf
    most: float = math.inf

    def answer(self, rows: Table) -> str:
        """One sentence, and what the 95 % interval says of the claim."""
        found = summed_up(self.seeds(rows))
        if found is None:
            return MISSING
        ends = (f"at least {self.least:g}", self.least > -math.inf), (f"at most {self.most:g}", self.most < math.inf)
        asked = " and ".join(said for said, there in ends if there)
        return f"{self.what}: {difference(found)} points. {asked[:1].upper()}{asked[1:]}: {self._judged(found)}."

    def judged(self, rows: Table) -> str | None:
        """How the claim stands, one of `JUDGED`; None without any seeds."""
        found = summed_up(self.seeds(rows))
        return self._judged(found) if found else None

    def _judged(self, found: Summary) -> str:
        low, high = (found.mean if end is None else end for end in (found.low, found.high))
        if self.least <= low and high <= self.most:
            return HOLDS
        return FAILS if high < self.least or low > self.most else OPEN


def apart(one: str, other: str) -> Callable[[Table], Seeds]:
    """The test accuracy of one arm minus another's, seed by seed."""
    return lambda rows: minus(goal_value(rows, one), goal_value(rows, other))


def findings(asked: Iterable[Pooled | Bound], rows: Table) -> list[str | Finding]:
    """The questions and their answers."""
    return [Finding(each.claim, each.answer(rows)) for each in asked]


def in_short(asked: Sequence[Pooled | Bound], rows: Table) -> list[str]:
    """The answers that there are to questions, and how many bounds hold; that there is none."""
    lines = [said for each in asked if isinstance(each, Pooled) and (said := each.answer(rows)) != MISSING]
    judged = Counter(how for each in asked if isinstance(each, Bound) and (how := each.judged(rows)))
    parts = [
        f"{judged[said]} {said if judged[said] == 1 else several}" for said, several in JUDGED.items() if judged[said]
    ]
    return [*lines, *([f"Of {judged.total()} claims with a bound, {', '.join(parts)}."] if parts else ())] or [MISSING]


def compared(asked: Sequence[Pooled], rows: Table) -> Grid:
    """Every comparison by itself."""
    lines = [
        (arm, each.what, difference(found), told(found, "more", "less"))
        for each in asked
        for arm, gap in Gaps(each.number, each.pairs)(rows).items()
        if (found := summed_up(gap))
    ]
    return Grid(("pruned by", "test accuracy", "difference (points)", "so it is"), tuple(lines))
