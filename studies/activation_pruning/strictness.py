"""Strictness: how much it says that a printed number is "reproduced", by what else would have passed.

Sorts: the columns that count class 0, which swing from run to run; zeros as pruned and FLOPs, which are fixed once the
number of cycles is the paper's; and the rest, which could have come out otherwise.
"""

from collections import Counter
from collections.abc import Iterator

from sapwood.study import printed
from sapwood.study.claim import Verdict, verdict
from sapwood.study.finals import accuracy
from sapwood.study.printed import Cell
from sapwood.study.seeds import summed_up
from sapwood.study.table import Table

from .claims import claim
from .rows import GLOBAL, LOCAL
from .tables_of_paper import TABLES

CLASS_0, FIXED, FREE = "columns that count class 0", "zeros as pruned and FLOPs", "the rest"
RANDOM = "C random neuron"


def sort(cell: Cell) -> str:
    """One of the three sorts."""
    if "class0" in cell.column:
        return CLASS_0
    return FIXED if cell.column == "zeros" or cell.column.startswith("kflops") else FREE


def cells() -> Iterator[Cell]:
    """All printed numbers, those that the paper prints in two tables twice."""
    return TABLES.cells()


def distinct() -> list[Cell]:
    """Each number once, where it is printed first."""
    return list({(cell.label, cell.column): cell for cell in reversed(list(cells()))}.values())[::-1]


def by_sort(rows: Table) -> dict[str, Counter[Verdict]]:
    """How many numbers of each sort have which verdict."""
    sorts = {name: [claim(*cell) for cell in cells() if sort(cell) == name] for name in (CLASS_0, FIXED, FREE)}
    return {name: printed.counted(claims, rows) for name, claims in sorts.items()}


def free_once(rows: Table) -> Counter[Verdict]:
    """The verdicts of the numbers that could have come out otherwise, each number once."""
    return printed.counted((claim(*cell) for cell in distinct() if sort(cell) == FREE), rows)


def inside(rows: Table) -> int:
    """How many claims have all of our 95 % interval in their band, not the mean alone."""
    return sum(printed.wholly_inside(each, rows) for each in TABLES.claims())


def with_another(rows: Table) -> dict[str, tuple[int, int]]:
    """Of each sort: how many of our numbers pass for what is printed of another row in the same column, of how many."""
    found = printed.with_another(TABLES, rows, sort)
    return {name: found.get(name, (0, 0)) for name in (CLASS_0, FIXED, FREE)}


def random_instead(rows: Table) -> tuple[int, int, int]:
    """Accuracies printed of pruned rows: how many are reproduced by the rows, how many by the random-neuron control in
    the place of each of them, of how many.
    """
    mine = [cell for cell in cells() if cell.label in (*GLOBAL, *LOCAL) and cell.column.startswith("accuracy ")]
    luck = [verdict(claim(*cell), summed_up(accuracy(rows, RANDOM, cell.column.split()[1]))) for cell in mine]
    return printed.counted((claim(*cell) for cell in mine), rows)["reproduced"], luck.count("reproduced"), len(mine)
