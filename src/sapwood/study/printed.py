"""Printed: a paper's tables as claims, each number beside ours with its verdict, and how strict these verdicts are.

✓ reproduced, ✗ not reproduced, ? cannot be judged, by the claims' tolerances; no mark where nothing is judged.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sapwood.study.claim import MARKS, VERDICTS, Claim, Verdict, by_group, verdict
from sapwood.study.finals import Number, of
from sapwood.study.grid import NOTHING, Grid, number
from sapwood.study.table import Summary, Table

UNJUDGED = "not judged"
Line = Mapping[str, int | float | None]  # column -> the printed number


class Cell(NamedTuple):
    """A printed number and where it stands."""

    table: int
    label: str
    column: str
    value: float


class Shown(NamedTuple):
    """How a column of a printed table is shown."""

    name: str
    unit: str
    decimals: int


class Measure(NamedTuple):
    """What a printed column measures: in a claim's words with the unit, as a table's head, and our number of an arm."""

    said: str
    shown: Shown
    number: Number


def variant(measure: Measure, said: str, shown: str, arm: str) -> Measure:
    """The same measure of another arm, called `arm` with {} for the first one's name, and words that say so."""
    head = measure.shown._replace(name=shown + measure.shown.name)
    return Measure(said + measure.said, head, of(arm, measure.number))


@dataclass(frozen=True)
class Printed:
    """A paper's tables, {number: {label: {column: number}}}, and what each number in them claims."""

    tables: Mapping[int, Mapping[str, Line]]
    claim: Callable[[int, str, str, float], Claim]
    shown: Callable[[str], Shown]
    seeds: Callable[[Table, int, str], tuple[str, ...]]  # cells about a line's seeds, titled:
    titles: tuple[str, ...] = ("seeds (n)",)

    def cells(self) -> Iterator[Cell]:
        """All printed numbers; one that is printed in two tables comes twice."""
        return cells_of(self.tables)

    def claims(self) -> Iterator[Claim]:
        """One for each printed number, table by table."""
        return (self.claim(*cell) for cell in self.cells())

    def of_table(self, table: int, *starts: str) -> Callable[[Table], Grid]:
        """A builder of one printed table with ours beside it, of the columns that start so (all without `starts`)."""
        columns = [name for name in next(iter(self.tables[table].values())) if not starts or name.startswith(starts)]
        shown = [self.shown(column) for column in columns]
        titles = (f"{each.name}, {whose} ({each.unit})" for each in shown for whose in ("printed", "ours"))
        heads = ("arm", *self.titles, *titles, "verdicts")

        def build(rows: Table) -> Grid:
            return Grid(heads, tuple(self._line(rows, table, label, columns) for label in self.tables[table]))

        return build

    def _line(self, rows: Table, table: int, label: str, columns: Sequence[str]) -> tuple[str, ...]:
        cells: list[str] = []
        said: list[Verdict] = []
        for column in columns:
            value = self.tables[table][label][column]
            if value is None:
                cells += [NOTHING, NOTHING]
                continue
            claim = self.claim(table, label, column, value)
            ours, verdict_ = _ours(rows, claim, self.shown(column).decimals)
            cells += [_as_printed(claim.value), ours]
            said.append(verdict_)
        return (label, *self.seeds(rows, table, label), *cells, in_words(said) if judged(rows) else UNJUDGED)


def cells_of(tables: Mapping[int, Mapping[str, Line]]) -> Iterator[Cell]:
    """All numbers of printed tables, {number: {label: {column: number}}}, table by table."""
    for table, lines in tables.items():
        for label, line in lines.items():
            yield from (Cell(table, label, column, value) for column, value in line.items() if value is not None)


def judged(rows: Table) -> bool:
    """Whether verdicts mean anything: not at scale smoke."""
    return not rows or "smoke" not in str(rows[0].get("task", ""))


def in_words(said: Sequence[Verdict]) -> str:
    """How many of each verdict, those that occur."""
    counts = Counter(said)
    return ", ".join(f"{counts[each]} {each}" for each in VERDICTS if counts[each]) or NOTHING


def by_table(claims: Sequence[Claim]) -> Callable[[Table], Grid]:
    """A builder of the table of verdicts: how many of the claims of each printed table have which."""

    def build(rows: Table) -> Grid:
        counted = by_group(claims, rows)
        total: Counter[Verdict] = sum(counted.values(), Counter())
        lines = [
            (group, str(each.total()), *(str(each[name]) if judged(rows) else NOTHING for name in VERDICTS))
            for group, each in (*counted.items(), ("all", total))
        ]
        return Grid(("table of the paper", "claims (n)", *(f"{name} (n)" for name in VERDICTS)), tuple(lines))

    return build


def of_points(claims: Sequence[Claim]) -> Callable[[Table], Grid]:
    """A builder of the table of single claims: the source, the band it is held to, ours and the verdict."""

    def build(rows: Table) -> Grid:
        found = [(claim, claim.found(rows)) for claim in claims]
        lines = [(c.where, c.text, _band(c), number(ours, 2), MARKS[verdict(c, ours)]) for c, ours in found]
        return Grid(("source", "what", "band", "here", ""), tuple(lines))

    return build


def _band(claim: Claim) -> str:
    low, high = claim.value - claim.tolerance, claim.value + claim.tolerance
    if high > 1e6:
        return f"at least {low:g}"
    return f"at most {high:g}" if low < -1e6 else f"{low:.4g} to {high:.4g}"


def counted(claims: Iterable[Claim], rows: Table) -> Counter[Verdict]:
    """How many of the claims have which verdict."""
    return Counter(verdict(claim, claim.found(rows)) for claim in claims)


def tallied(claims: Iterable[Claim], rows: Table) -> str:
    """How many of the claims have which verdict, in words: "3 reproduced, 1 not reproduced, 0 cannot be judged"."""
    found = counted(claims, rows)
    return ", ".join(f"{found[each]} {each}" for each in VERDICTS)


def _as_printed(value: float) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _ours(rows: Table, claim: Claim, decimals: int) -> tuple[str, Verdict]:
    ours: Summary | None = claim.found(rows)
    said = verdict(claim, ours)
    mark = f" {MARKS[said]}" if judged(rows) and ours is not None else ""
    return number(ours, decimals) + mark, said
