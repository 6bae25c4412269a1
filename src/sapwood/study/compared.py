"""Compared: tables of rows beside a reference, seed by seed, and of the cycles that they made."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from sapwood.study.finals import accuracy, at_end, best_test, zeros
from sapwood.study.grid import NOTHING, Grid, number
from sapwood.study.seeds import Seeds, minus, summed_up
from sapwood.study.table import Table
from sapwood.study.words import told


def show(values: Seeds, decimals: int = 2) -> str:
    """The mean of the seeds and its 95 % interval."""
    return number(summed_up(values), decimals)


def means(layers: Sequence[Seeds]) -> str:
    """One number a layer."""
    return " ".join(number(summed_up(each), 0).partition(" ")[0] for each in layers)


def cycles(rows: Table, labels: Iterable[str], completed: Mapping[str, int]) -> Grid:
    """How many seeds completed how many cycles, beside the planned number and the `completed` ones of the paper."""
    made = {label: at_end(rows, label, "cycles") for label in labels}
    most = range(max((int(n) for values in made.values() for n in values.values()), default=0) + 1)
    lines = []
    for label, values in made.items():
        seen = Counter(int(n) for n in values.values())
        planned = {str(int(n)) for n in at_end(rows, label, "cycles_planned", "note").values()}
        known = (
            str(len(values)),
            *(planned or {NOTHING}),
            str(completed.get(label, NOTHING)),
            show(zeros(rows, label)),
        )
        lines.append((label, *known, *(str(seen[n]) if values else NOTHING for n in most)))
    columns = ("row", "seeds (n)", "planned (cycles)", "the paper's run (cycles)", "zeros (%)")
    return Grid((*columns, *(f"seeds that made {n} (n)" for n in most)), tuple(lines))


def against(rows: Table, reference: str, labels: Sequence[str]) -> Grid:
    """Test accuracy of each row minus the reference's, seed by seed: of the last weights, and of the epoch with the
    best validation accuracy since the last prune.
    """
    lines = []
    for label in labels:
        last, best = accuracy(rows, label), best_test(rows, label)
        gap = minus(last, accuracy(rows, reference))
        best_gap = minus(best, best_test(rows, reference))
        gaps = (show(gap), told(summed_up(gap)), show(best), show(best_gap), told(summed_up(best_gap)))
        size = (str(len(last)), show(zeros(rows, label)), left(rows, label))
        more = (show(at_end(rows, label, "cycles"), 1), show(at_end(rows, label, "epochs"), 1), show(last))
        shown = gaps if label != reference else (NOTHING, NOTHING, show(best), NOTHING, NOTHING)
        lines.append((label, *size, *more, *shown))
    columns = ("row", "seeds (n)", "zeros (%)", "weights not 0 (number)", "cycles (number)", "length (epochs)",
               "test accuracy (%)", f"minus {reference}'s (points)", f"than {reference}",
               "best by validation, test accuracy (%)", f"minus {reference}'s best (points)",
               f"than {reference}, best by validation")  # fmt: skip
    return Grid(columns, tuple(lines))


def left(rows: Table, label: str) -> str:
    """The weights of a row that are not 0."""
    return show(minus(at_end(rows, label, "weights"), at_end(rows, label, "zeros")), 0)
