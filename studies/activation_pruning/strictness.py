"""Strictness: how much it says that a printed number is "reproduced", by what else would have passed.

Sorts: the columns that count class 0, which swing from run to run; zeros as pruned and FLOPs, which are fixed once the
number of cycles is the paper's; and the rest, which could have come out otherwise.
"""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from sapwood.study.claim import Claim, Verdict, verdict
from sapwood.study.seeds import summed_up
from sapwood.study.table import Summary, Table

from .claims import claim
from .found import accuracy
from .printed import PRINTED
from .rows import GLOBAL, LOCAL

CLASS_0, FIXED, FREE = "columns that count class 0", "zeros as pruned and FLOPs", "the rest"
RANDOM = "C random neuron"


class Cell(NamedTuple):
    """A printed number and where it stands."""

    table: int
    label: str
    column: str
    value: float

    @property
    def claim(self) -> Claim:
        """What it claims."""
        return claim(*self)

    @property
    def sort(self) -> str:
        """One of the three sorts."""
        if "class0" in self.column:
            return CLASS_0
        fixed = self.column == "zeros" or self.column.startswith("kflops")
        return FIXED if fixed else FREE


def cells() -> Iterator[Cell]:
    """All printed numbers, those that the paper prints in two tables twice."""
    for table, lines in PRINTED.items():
        for label, columns in lines.items():
            yield from (Cell(table, label, column, value) for column, value in columns.items() if value is not None)


def distinct() -> list[Cell]:
    """Each number once, where it is printed first."""
    return list({(cell.label, cell.column): cell for cell in reversed(list(cells()))}.values())[::-1]


def by_sort(rows: Table) -> dict[str, Counter[Verdict]]:
    """How many numbers of each sort have which verdict."""
    counted: dict[str, Counter[Verdict]] = {sort: Counter() for sort in (CLASS_0, FIXED, FREE)}
    for cell in cells():
        counted[cell.sort][verdict(cell.claim, cell.claim.found(rows))] += 1
    return counted


def free_once(rows: Table) -> Counter[Verdict]:
    """The verdicts of the numbers that could have come out otherwise, each number once."""
    return Counter(verdict(cell.claim, cell.claim.found(rows)) for cell in distinct() if cell.sort == FREE)


def inside(rows: Table) -> int:
    """How many claims have all of our 95 % interval in their band, not the mean alone."""
    return sum(_inside(cell.claim, cell.claim.found(rows)) for cell in cells())


def _inside(claim: Claim, found: Summary | None) -> bool:
    low, high = claim.value - claim.tolerance, claim.value + claim.tolerance
    return (
        found is not None
        and found.low is not None
        and found.high is not None
        and low <= found.low <= found.high <= high
    )


def with_another(rows: Table) -> dict[str, tuple[int, int]]:
    """Of each sort: how many of our numbers pass for what is printed of another row in the same column, of how many."""
    printed: dict[tuple[int, str], list[Cell]] = {}
    for cell in cells():
        printed.setdefault((cell.table, cell.column), []).append(cell)
    tried = {sort: [0, 0] for sort in (CLASS_0, FIXED, FREE)}
    for column in printed.values():
        for cell in column:
            found = cell.claim.found(rows)
            others = [other.claim for other in column if other.label != cell.label] if found and found.n else []
            tried[cell.sort][0] += sum(verdict(other, found) == "reproduced" for other in others)
            tried[cell.sort][1] += len(others)
    return {sort: (passed, of) for sort, (passed, of) in tried.items()}


def random_instead(rows: Table) -> tuple[int, int, int]:
    """Accuracies printed of pruned rows: how many are reproduced by the rows, how many by the random-neuron control in
    the place of each of them, of how many.
    """
    mine = [cell for cell in cells() if cell.label in (*GLOBAL, *LOCAL) and cell.column.startswith("accuracy ")]
    ours = [verdict(cell.claim, cell.claim.found(rows)) for cell in mine]
    luck = [verdict(cell.claim, summed_up(accuracy(rows, RANDOM, cell.column.split()[1]))) for cell in mine]
    return ours.count("reproduced"), luck.count("reproduced"), len(mine)
