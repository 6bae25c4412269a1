"""Tuning: which candidate has the lowest validation error, and the table of all of them."""

from collections.abc import Mapping, Sequence

from sapwood.study.grid import NOTHING, number
from sapwood.study.seeds import errors, summed_up
from sapwood.study.table import Table, summary


def lowest(rows: Table, names: Mapping[float, str]) -> float | None:
    """Of {candidate: row} that with the lowest validation error, of equals the first; None while one is missing."""
    found = errors(rows, "valid")
    if not found.keys() >= set(names.values()):
        return None
    return min(names, key=lambda each: summary(found[names[each]].values()).mean)


def tried(rows: Table, title: str, names: Sequence[str], used: float | None) -> tuple[str, ...]:
    """A line: the validation errors of rows that differ in one number, and the number in use."""
    found = errors(rows, "valid")
    seen = [number(summed_up(found.get(name)), 2) for name in names]
    return (title, *seen, NOTHING if used is None else f"{used:g}")
