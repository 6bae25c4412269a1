"""Spectra tables: singular values at the end, courses beside each other, and what the first and last prune do."""

from collections.abc import Callable, Iterable, Sequence

from sapwood.study.compared import show
from sapwood.study.finals import accuracy, at_end, over, zeros
from sapwood.study.grid import NOTHING, Grid
from sapwood.study.seeds import Seeds, minus, summed_up
from sapwood.study.shrinking import shrunk
from sapwood.study.table import Table
from sapwood.study.words import told

QUANTITIES = ("nuclear", "effective_rank", "stable_rank")
Distance = Callable[[Table, str, str, tuple[str, ...]], Seeds]


def spectra(rows: Table, labels: Iterable[str], dense: str, layers: Sequence[int]) -> Grid:
    """How large the singular values are at the end, relative to the dense row's of the same seed and epoch."""
    lines = []
    for label in (dense, *labels):
        parts = [_relative(rows, label, dense, f"nuclear_{layer}") for layer in layers]
        ranks = [at_end(rows, label, f"effective_rank_{layer}") for layer in layers]
        last = accuracy(rows, label)
        gap = show(minus(last, accuracy(rows, dense))) if label != dense else NOTHING
        some = (str(len(last)), show(at_end(rows, label, "cycles"), 1), show(zeros(rows, label)), show(last), gap)
        lines.append((label, *some, *(show(each, 1) for each in (*parts, *ranks))))
    columns = ("row", "seeds (n)", "cycles (number)", "zeros (%)", "test accuracy (%)", f"minus {dense} (points)")
    nuclear = (f"nuclear norm, layer {layer} (% of {dense})" for layer in layers)
    return Grid((*columns, *nuclear, *(f"effective rank, layer {layer} (number)" for layer in layers)), tuple(lines))


def _relative(rows: Table, label: str, dense: str, metric: str) -> dict[int, float]:
    return over(at_end(rows, label, metric, scale=100), at_end(rows, dense, metric))


def closeness(rows: Table, like: str, labels: Iterable[str], yardstick: str, distance: Distance) -> Grid:
    """How far each row's course is from that of `like`, and whether it is further than the yardstick's."""
    usual = distance(rows, like, yardstick, QUANTITIES)
    lines = []
    for label in labels:
        whole = distance(rows, like, label, QUANTITIES)
        gap = minus(whole, usual)
        said = told(summed_up(gap), "further", "closer") if label != yardstick else NOTHING
        parts = (show(distance(rows, like, label, (quantity,)), 3) for quantity in QUANTITIES)
        lines.append(
            (label, str(len(whole)), show(whole, 3), *parts, show(gap, 3) if label != yardstick else NOTHING, said)
        )
    by = (f"by {quantity.replace('_', ' ')} alone (natural log)" for quantity in QUANTITIES)
    columns = (
        "row",
        "seeds (n)",
        f"distance from {like} (natural log)",
        *by,
        f"minus that of {yardstick} (natural log)",
    )
    return Grid((*columns, f"than {yardstick}"), tuple(lines))


def shrinking(rows: Table, labels: Iterable[str]) -> Grid:
    """By how much the first prune and the last shrink large singular values and small ones."""
    lines = []
    for label in labels:
        for which, prune in (("first", 0), ("last", -1)):
            large, small = shrunk(rows, label, prune, 0.0, 0.1), shrunk(rows, label, prune, 0.5, 1.0)
            gap = minus(small, large)
            said = told(summed_up(gap), "less", "more")
            lines.append((label, f"{which} prune", str(len(large)), *map(show, (large, small, gap)), said))
    columns = ("row", "when", "seeds (n)", "largest tenth (% change)", "smaller half (% change)",
               "smaller half minus largest tenth (points)", "the smaller half shrinks")  # fmt: skip
    return Grid(columns, tuple(lines))
