"""Controlled: every arm of a study beside its control, seed by seed, for the report's top and a table of it."""

from sapwood.study import words
from sapwood.study.compared import against
from sapwood.study.finals import goal_value, less
from sapwood.study.grid import Grid
from sapwood.study.study import Tabled
from sapwood.study.table import Table, goals, labels
from sapwood.study.words import Pairs
from sapwood.training.goal import ACCURACY


def against_control(control: str, rows: Table) -> list[str]:
    """How many arms are better than the control and how many worse, and the differences; nothing without a control."""
    gaps = _gaps(control, rows) if control else {}
    if not gaps:
        return []
    goal = goals(rows)[0]
    more, less_ = ("better", "worse") if goal.up else ("worse", "better")
    unit = "points" if goal == ACCURACY else goal.unit
    what = f"Test {goal.metric} minus that of {control}, {unit}"
    return [words.count(" arms", gaps, f"{more} than {control}", less_), words.sentence(what, gaps, more, less_)]


def _gaps(control: str, rows: Table) -> Pairs:
    gap = less(goal_value, control)
    return words.there({arm: gap(rows, arm) for arm in labels(rows) if arm != control})


def of_control(control: str) -> Tabled:
    """The table of all arms with their differences to the control."""

    def build(rows: Table) -> Grid:
        return against(control, labels(rows))(rows)

    caption = "Differences are taken seed by seed. They say little of arms that are not comparable for another reason."
    return Tabled(f"Beside {control}", caption, build)
