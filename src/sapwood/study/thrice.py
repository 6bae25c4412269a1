"""Thrice: each printed number judged three ways, since "within the tolerance" alone says little.

tolerance        our mean lies in the claim's band: `claim.verdict`
one run          the printed number, which is a single run's, lies in the 95 % prediction interval of one of our runs,
                 mean ± t(0.975, n - 1) s sqrt(1 + 1 / n), or half of the last printed digit outside of it
discriminating   no other arm of the printed column, nor the control, would have passed in the arm's place
"""

from dataclasses import dataclass
from math import sqrt
from typing import NamedTuple

from sapwood.study.claim import MARKS, Claim, Verdict, verdict
from sapwood.study.grid import NOTHING, Grid, number
from sapwood.study.printed import Cell, judged
from sapwood.study.strictness import Strictness
from sapwood.study.study import Tabled
from sapwood.study.table import Summary, Table

HEADS = ("number", "printed", "ours", "one run (95 %)", "in tolerance", "as one run", "discriminating",
         "others that pass")  # fmt: skip
SAID = (
    "Each number once. In tolerance: our mean is. As one run: the printed number lies where one more run of ours "
    "would. Discriminating: ours passes, and no other arm of the column and no random neurons would in its place; how "
    "many would stands in the last column. ✓ yes, ✗ no, ? cannot be judged."
)


def one_run(ours: Summary | None) -> tuple[float, float] | None:
    """Where one more run lies in 95 of 100 cases, by the runs there are; None where these have no interval.

    The half-width of the mean's interval times sqrt(n + 1). Where that interval is cut at what is possible, its other
    end says how wide it is.
    """
    if ours is None or ours.low is None or ours.high is None:
        return None
    half = max(ours.high - ours.mean, ours.mean - ours.low) * sqrt(ours.n + 1)
    return ours.mean - half, ours.mean + half


class Judged(NamedTuple):
    """A printed number, ours, and how many of how many other arms would have passed in its place."""

    cell: Cell
    claim: Claim
    ours: Summary | None
    passing: int
    of: int

    @property
    def in_tolerance(self) -> Verdict:
        """By the claim's rule."""
        return verdict(self.claim, self.ours)

    @property
    def as_one_run(self) -> Verdict:
        """Whether the printed number could be a run of ours."""
        interval, rounding = one_run(self.ours), 0.5 if isinstance(self.cell.value, int) else 0.005
        if interval is None:
            return "cannot be judged"
        inside = interval[0] - rounding <= self.claim.value <= interval[1] + rounding
        return "reproduced" if inside else "not reproduced"

    @property
    def discriminating(self) -> bool:
        """Whether it passes and nothing else would."""
        return self.in_tolerance == "reproduced" and not self.passing

    @property
    def passes(self) -> bool:
        """All three."""
        return self.discriminating and self.as_one_run == "reproduced"


@dataclass(frozen=True)
class Thrice:
    """A paper's printed numbers, the sort of them that does not count, and the arm of luck."""

    strict: Strictness
    without: str
    control: str

    def numbers(self, rows: Table) -> list[Judged]:
        """Each printed number once."""
        return _numbers(self, rows)

    @property
    def tabled(self) -> Tabled:
        """The table of all numbers."""
        return Tabled("Every printed number, judged three ways", SAID, self.grid)

    def grid(self, rows: Table) -> Grid:
        """A line for each number."""
        return Grid(HEADS, tuple(_line(each) for each in self.numbers(rows)) if judged(rows) else ())

    def in_one_line(self, rows: Table) -> str:
        """How many of the distinct numbers that count pass which way, and what share of other arms' numbers would."""
        found = [each for each in self.numbers(rows) if self.strict.sort(each.cell) != self.without and each.ours]
        of = sum(each.of for each in found)
        if not of:
            return ""
        inside, run, alone, all_three = (
            sum(map(passes, found))
            for passes in (
                lambda each: each.in_tolerance == "reproduced",
                lambda each: each.as_one_run == "reproduced",
                lambda each: each.discriminating,
                lambda each: each.passes,
            )
        )
        chance = 100 * sum(each.passing for each in found) / of
        return (
            f"Of {len(found)} distinct printed numbers {inside} are within their tolerance, {run} could be a run of "
            f"ours, {alone} would not pass with another arm's number, {all_three} all three; by chance {chance:.0f} % "
            "would pass."
        )


def _numbers(thrice: Thrice, rows: Table) -> list[Judged]:
    printed = thrice.strict.printed
    distinct = thrice.strict.distinct()
    ours = {cell: printed.claim(*cell).found(rows) for cell in printed.cells()}
    return [_judged(cell, printed.claim(*cell), ours, _luck(thrice, cell, rows)) for cell in distinct]


def _luck(thrice: Thrice, cell: Cell, rows: Table) -> Summary | None:
    """The number of the control in this column, where it has one."""
    try:
        return thrice.strict.printed.claim(*cell._replace(label=thrice.control)).found(rows)
    except KeyError:  # an average of other arms
        return None


def _judged(cell: Cell, claim: Claim, ours: dict[Cell, Summary | None], luck: Summary | None) -> Judged:
    others = [found for other, found in ours.items() if _beside(other, cell)]
    tried = [found for found in (*others, luck) if found is not None and found.n]
    return Judged(cell, claim, ours[cell], sum(verdict(claim, each) == "reproduced" for each in tried), len(tried))


def _beside(other: Cell, cell: Cell) -> bool:
    return (other.table, other.column) == (cell.table, cell.column) and other.label != cell.label


def _line(each: Judged) -> tuple[str, ...]:
    interval = one_run(each.ours)
    return (
        f"{each.claim.where}: {each.claim.text.partition(': ')[2] or each.claim.text}",
        f"{each.claim.value:g}",
        number(each.ours, 2),
        f"{interval[0]:.2f} to {interval[1]:.2f}" if interval else NOTHING,
        MARKS[each.in_tolerance],
        MARKS[each.as_one_run],
        "✓" if each.discriminating else "✗",
        f"{each.passing} of {each.of}",
    )
