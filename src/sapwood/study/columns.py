"""Columns: tables with a line for each arm, declared as a list of columns.

Titles may have {goal}, {unit} and {points} in them: the name of what the rows' task is judged by, its unit, and the
unit of a difference ("accuracy", "%" and "points" for most).
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

from sapwood.study.finals import Number, goal_value
from sapwood.study.grid import NOTHING, Grid, number
from sapwood.study.seeds import Seeds, summed_up
from sapwood.study.table import Table, goals
from sapwood.study.words import told
from sapwood.training.goal import ACCURACY


class Column(NamedTuple):
    """A title and the text under it for each arm."""

    title: str
    cell: Callable[[Table, str], str]


def show(values: Seeds, decimals: int = 2) -> str:
    """The mean of the seeds and its 95 % interval."""
    return number(summed_up(values), decimals)


def mean(title: str, value: Number, decimals: int = 2, *, but: Collection[str] = ()) -> Column:
    """The mean of a number and its 95 % interval; a dash for the arms in `but`, with which others are compared."""
    return Column(title, lambda rows, arm: NOTHING if arm in but else show(value(rows, arm), decimals))


def said(title: str, gap: Number, more: str = "higher", less: str = "lower", *, but: Collection[str] = ()) -> Column:
    """What a difference says, in a word; a dash for the arms in `but`."""
    return Column(title, lambda rows, arm: NOTHING if arm in but else told(summed_up(gap(rows, arm)), more, less))


def seeds(value: Number = goal_value) -> Column:
    """How many seeds have this number."""
    return Column("seeds (n)", lambda rows, arm: str(len(value(rows, arm))))


def layers(title: str, values: Sequence[Number]) -> Column:
    """A mean for each layer, without interval and decimals."""
    return Column(title, lambda rows, arm: means(value(rows, arm) for value in values))


def means(values: Iterable[Seeds]) -> str:
    """The mean of each, without interval and decimals."""
    return " ".join(show(each, 0).partition(" ")[0] for each in values)


def by_arm(
    arms: Iterable[str], *columns: Column, first: str = "arm", above: Sequence[tuple[str, ...]] = ()
) -> Callable[[Table], Grid]:
    """A builder of the table with a line for each arm; `above` are lines of text before those."""
    names = tuple(arms)

    def build(rows: Table) -> Grid:
        goal = goals(rows)[0]
        unit, points = ("%", "points") if goal == ACCURACY else (goal.unit, goal.unit)
        titles = (column.title.format(goal=goal.metric, unit=unit, points=points) for column in columns)
        lines = ((arm, *(column.cell(rows, arm) for column in columns)) for arm in names)
        return Grid((first, *titles), (*above, *lines))

    return build
