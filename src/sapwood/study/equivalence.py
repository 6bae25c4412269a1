"""Equivalence: whether one arm is as good as another, within a margin that was set before anything was run.

That a difference was not found shows no equality. Two one-sided tests do, of differences paired by seed:

    t_low = (mean + margin) / (s / sqrt(n)),    t_high = (mean - margin) / (s / sqrt(n)),    n - 1 degrees of freedom
    p = max(P(T > t_low), P(T < t_high)):       p < 0.05 where the 90 % interval of the mean lies within ± margin

*Paper:* Schuirmann 1987, "A comparison of the two one-sided tests procedure and the power approach for assessing the
equivalence of average bioavailability"; Lakens 2017, "Equivalence tests: a practical primer for t tests, correlations,
and meta-analyses". *Differs:* of several comparisons each p is corrected by Holm's procedure (`several.holm`).
"""

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from sapwood.errors import InputError
from sapwood.extras import optional
from sapwood.study.grid import NOTHING, Grid
from sapwood.study.questions import Comparisons, Question, Said
from sapwood.study.seeds import summed_up
from sapwood.study.several import ALPHA, detectable, holm, p_value
from sapwood.study.standing import Claimed, as_whole, speaking
from sapwood.study.study import Standing
from sapwood.study.table import Summary, Table
from sapwood.study.words import APART, Pairs, difference


def no_worse(differences: Iterable[float], margin: float) -> float | None:
    """The chance of so high a mean difference if the true one were `margin` below 0: a one-sided paired t test.

    None for fewer than two seeds. Where all seeds have the same difference it is 0 above -margin, otherwise 1.
    """
    _refuse_bad(margin)
    seen = list(differences)
    if len(seen) < 2:
        return None
    mean, spread = statistics.fmean(seen), statistics.stdev(seen)
    if spread == 0:
        return 0.0 if mean > -margin else 1.0
    with optional("an equivalence test"):
        from scipy.special import stdtr

    return float(stdtr(len(seen) - 1, -(mean + margin) * math.sqrt(len(seen)) / spread))


def as_good(differences: Iterable[float], margin: float) -> float | None:
    """The larger p of both one-sided tests: small where the true difference lies within ± `margin`; None as above."""
    seen = list(differences)
    low, high = no_worse(seen, margin), no_worse([-each for each in seen], margin)
    return None if low is None or high is None else max(low, high)


def _refuse_bad(margin: float) -> None:
    if not 0 < margin < math.inf:
        raise InputError(f"margin is {margin}; give the largest difference that does not matter, above 0")


class Told(NamedTuple):
    """A comparison among others: the difference, p values after Holm's correction, and what would have been seen.

    `seen` is the true difference that the two-sided test finds in four of five cases at alpha / number of comparisons,
    which is what Holm's correction asks of the first of them.
    """

    gap: Summary
    differs: float  # p of no difference at all
    no_worse: float  # p of being lower by the margin or more
    alike: float  # p of being off by the margin or more
    seen: float | None

    @property
    def side(self) -> int:
        """1: higher, -1: lower, 0: cannot be told."""
        return 0 if self.differs >= ALPHA else 1 if self.gap.mean > 0 else -1

    @property
    def equal(self) -> bool:
        """Whether it is shown to lie within the margin."""
        return self.alike < ALPHA


def told(pairs: Pairs, margin: float) -> dict[str, Told]:
    """What is told of each comparison, all of which answer one question; those of fewer than two seeds are left out.

    Each of the three tests is corrected for all comparisons.
    """
    known = {name: list(values.values()) for name, values in pairs.items() if len(values) > 1}

    def corrected(test: Callable[[list[float]], float | None]) -> dict[str, float]:
        return holm({name: _known(test(seen)) for name, seen in known.items()})

    differs = corrected(p_value)
    less, off = (corrected(partial(test, margin=margin)) for test in (no_worse, as_good))
    level = ALPHA / max(1, len(known))
    return {
        name: Told(_summary(pairs, name), differs[name], less[name], off[name], detectable(seen, alpha=level))
        for name, seen in known.items()
    }


def _known(p: float | None) -> float:
    assert p is not None  # of two seeds or more there is one
    return p


def _summary(pairs: Pairs, name: str) -> Summary:
    found = summed_up(pairs[name])
    assert found is not None
    return found


def in_words(found: Told, margin: float, more: str = "better", less: str = "worse", unit: str = "points") -> str:
    """ "better", "worse by less than 0.5 points", "as good as, within 0.5 points", or "cannot be told apart; a
    difference of 0.8 points would have been seen".
    """
    size = _size(margin, unit)
    if found.side:
        word = more if found.side > 0 else less
        return f"{word} by less than {size}" if found.equal else word
    if found.equal:
        return f"as good as, within {size}"
    missed = f"; a difference of {found.seen:.2g} {unit} would have been seen" if found.seen else ""
    return APART + missed


@dataclass(frozen=True)
class Within:
    """A question that several comparisons answer together, with a margin, and what is claimed of all of them.

    Called with rows it gives the sentence; see `standing` for the verdict and `table` for the numbers.
    """

    question: str
    pairs: Comparisons
    margin: float
    more: str = "better"
    less: str = "worse"
    unit: str = "points"
    claimed: Claimed | None = None

    def told(self, rows: Table) -> dict[str, Told]:
        """What is told of each comparison."""
        return told(self.pairs(rows), self.margin)

    def said(self, found: Told) -> str:
        """What is told of one, in words."""
        return in_words(found, self.margin, self.more, self.less, self.unit)

    def __call__(self, rows: Table) -> str:
        """ "Test accuracy minus that of S: G1 worse (-0.60 [-1.00, -0.20], n = 30); ..." Empty without two seeds."""
        found = self.told(rows)
        parts = (f"{name} {self.said(each)} ({difference(each.gap)})" for name, each in found.items())
        return f"{self.question}: {'; '.join(parts)}." if found else ""

    def standing(self, rows: Table) -> Standing:
        """How the claim stands, after correction, by the rule for all claims.

        For "higher" and "lower" speaks a difference on that side. For "alike" speaks one within the margin, against it
        a difference beyond; for "no lower" speaks what is higher or shown to be no lower by the margin, against it a
        lower one that is not within it.
        """
        assert self.claimed is not None, "nothing is claimed"
        found = list(self.told(rows).values())
        return speaking(sum(map(FOR[self.claimed], found)), sum(map(AGAINST[self.claimed], found)), len(found),
                        equality=self.claimed in ("alike", "no lower"))  # fmt: skip


def question(claim: str, *asked: Within, details: Sequence[Said | str] = ()) -> Question:
    """A claim that is answered by families of comparisons; it holds if all of those that claim anything say so."""
    claiming = [each for each in asked if each.claimed]
    judge = (lambda rows: as_whole([each.standing(rows) for each in claiming])) if claiming else None
    return Question(claim, asked, details, judge)


FOR: Mapping[Claimed, Callable[[Told], bool]] = {
    "higher": lambda each: each.side > 0,
    "lower": lambda each: each.side < 0,
    "alike": lambda each: each.equal,
    "no lower": lambda each: each.side > 0 or each.no_worse < ALPHA,
}
AGAINST: Mapping[Claimed, Callable[[Told], bool]] = {
    "higher": lambda each: each.side < 0,
    "lower": lambda each: each.side > 0,
    "alike": lambda each: each.side != 0 and not each.equal,
    "no lower": lambda each: each.side < 0 and each.no_worse >= ALPHA,
}
SPEAKS = (
    "where p, corrected for all comparisons of its question, is below 0.05: of no difference; for a claim that two are "
    "as good, of being off by the margin or more"
)
HEADS = ("question", "comparison", "seeds (n)", "difference (95 % interval)", "p, no difference",
         "p, beyond the margin", "margin", "found in 80 % of cases", "verdict")  # fmt: skip


def table(questions: Sequence[Within]) -> Callable[[Table], Grid]:
    """A builder of the table of all comparisons; p values are corrected within each question."""

    def build(rows: Table) -> Grid:
        return Grid(HEADS, tuple(_line(asked, *each) for asked in questions for each in asked.told(rows).items()))

    return build


def _line(asked: Within, name: str, found: Told) -> tuple[str, ...]:
    return (
        asked.question,
        name,
        str(found.gap.n),
        difference(found.gap).rpartition(",")[0],
        _chance(found.differs),
        _chance(found.alike),
        _size(asked.margin, asked.unit),
        NOTHING if found.seen is None else f"{found.seen:.2g}",
        asked.said(found),
    )


def _size(margin: float, unit: str) -> str:
    """ "0.5 points", "1 point"."""
    return f"{margin:g} {unit.removesuffix('s') if margin == 1 else unit}"


def _chance(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
