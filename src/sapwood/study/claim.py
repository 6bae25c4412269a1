"""Claim: a number that a paper gives, where it gives it, and whether the rows agree."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from sapwood.study.table import Summary, Table

Verdict = Literal["reproduced", "not reproduced", "cannot be judged"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
MARKS: dict[Verdict, str] = {"reproduced": "✓", "not reproduced": "✗", "cannot be judged": "?"}


@dataclass(frozen=True)
class Claim:
    """What the paper says, and how the same number is found in a study's table (None: its arm has not been run)."""

    where: str  # "table 2, row G1"
    text: str
    value: float
    tolerance: float
    found: Callable[[Table], Summary | None]

    @property
    def group(self) -> str:
        """What it is counted with: `where` up to the first comma."""
        return self.where.partition(",")[0]


def verdict(claim: Claim, ours: Summary | None) -> Verdict:
    """The rule, with the band value ± tolerance:

    reproduced: our mean lies in the band. Not reproduced: it lies outside, and so does all of its 95 % interval.
    Cannot be judged: there are no rows; or the mean lies outside but the interval reaches into the band; or there is
    one seed only and it lies outside, since it has no interval that could clear the band.
    """
    if ours is None or ours.n == 0:
        return "cannot be judged"
    low, high = claim.value - claim.tolerance, claim.value + claim.tolerance
    if low <= ours.mean <= high:
        return "reproduced"
    if ours.low is None or ours.high is None:
        return "cannot be judged"
    return "not reproduced" if ours.low > high or ours.high < low else "cannot be judged"


def by_group(claims: Iterable[Claim], rows: Table) -> dict[str, Counter[Verdict]]:
    """How many claims of each group have which verdict, in the order in which the groups come."""
    counted: dict[str, Counter[Verdict]] = {}
    for claim in claims:
        counted.setdefault(claim.group, Counter())[verdict(claim, claim.found(rows))] += 1
    return counted
