"""Strictness: how much it says that a printed number is "reproduced", by what else would have passed.

Numbers come in sorts that a paper names, such as those that swing from run to run.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sapwood.study.claim import VERDICTS, Claim, Verdict, verdict
from sapwood.study.printed import Cell, Printed, counted
from sapwood.study.seeds import Seeds, summed_up
from sapwood.study.table import Table


@dataclass(frozen=True)
class Strictness:
    """A paper's printed tables, the names of the sorts, and the sort of each number."""

    printed: Printed
    sorts: Sequence[str]
    sort: Callable[[Cell], str]

    def distinct(self) -> list[Cell]:
        """Each number once, where it is printed first."""
        cells = list(self.printed.cells())
        return list({(cell.label, cell.column): cell for cell in reversed(cells)}.values())[::-1]

    def by_sort(self, rows: Table) -> dict[str, Counter[Verdict]]:
        """How many numbers of each sort have which verdict; a number printed in two tables counts twice."""
        cells = list(self.printed.cells())
        return {name: self._counted((cell for cell in cells if self.sort(cell) == name), rows) for name in self.sorts}

    def once(self, rows: Table, sort: str) -> Counter[Verdict]:
        """The verdicts of the numbers of one sort, each number once."""
        return self._counted((cell for cell in self.distinct() if self.sort(cell) == sort), rows)

    def inside(self, rows: Table) -> int:
        """How many claims have all of our 95 % interval in their band, not the mean alone."""
        return sum(wholly_inside(claim, rows) for claim in self.printed.claims())

    def with_another(self, rows: Table) -> dict[str, tuple[int, int]]:
        """Of each sort: how many of our numbers pass for what is printed of another arm in that column, of how many."""
        columns: dict[tuple[int, str], list[Cell]] = {}
        for cell in self.printed.cells():
            columns.setdefault((cell.table, cell.column), []).append(cell)
        tried = dict.fromkeys(self.sorts, (0, 0))
        for cell in (cell for column in columns.values() for cell in column):
            found = self.printed.claim(*cell).found(rows)
            column = columns[cell.table, cell.column] if found and found.n else []
            others = [self.printed.claim(*other) for other in column if other.label != cell.label]
            passed, of = tried[self.sort(cell)]
            tried[self.sort(cell)] = (
                passed + sum(verdict(other, found) == "reproduced" for other in others),
                of + len(others),
            )
        return tried

    def instead(self, rows: Table, cells: Sequence[Cell], control: Callable[[Cell], Seeds]) -> tuple[int, int, int]:
        """How many of the cells our rows reproduce, how many the control's numbers in their place, of how many."""
        luck = [verdict(self.printed.claim(*cell), summed_up(control(cell))) for cell in cells]
        return self._counted(cells, rows)["reproduced"], luck.count("reproduced"), len(cells)

    def _counted(self, cells: Iterable[Cell], rows: Table) -> Counter[Verdict]:
        return counted((self.printed.claim(*cell) for cell in cells), rows)

    def in_words(self, rows: Table, free: str) -> tuple[str, str, str]:
        """The verdicts by sort, those of the sort `free` with each number once, and what else would pass, as lists."""
        sorts = [f"{sum(found.values())} {sort} ({_listed(found)})" for sort, found in self.by_sort(rows).items()]
        once = self.once(rows, free)
        swapped = {sort: 100 * some / every for sort, (some, every) in self.with_another(rows).items() if every}
        passing = "; ".join(f"{share:.0f} % for {sort}" for sort, share in swapped.items())
        return (
            "; ".join(sorts),
            f"{once.total()}, of which {', '.join(f'{once[each]} {each}' for each in VERDICTS)}",
            passing,
        )


def _listed(found: Counter[Verdict]) -> str:
    return ", ".join(f"{found[each]} {each}" for each in VERDICTS if found[each])


def wholly_inside(claim: Claim, rows: Table) -> bool:
    """Whether all of our 95 % interval lies in the claim's band, not the mean alone."""
    found, low, high = claim.found(rows), claim.value - claim.tolerance, claim.value + claim.tolerance
    known = found is not None and found.low is not None and found.high is not None
    return known and low <= found.low <= found.high <= high  # type: ignore[union-attr, operator]
