"""Tables of the singular-value runs (section 5.6) and of the channels."""

from sapwood.study import spectra_tables
from sapwood.study.compared import show
from sapwood.study.finals import accuracy, at_end, zeros
from sapwood.study.grid import NOTHING, Grid
from sapwood.study.seeds import minus, summed_up
from sapwood.study.table import Table
from sapwood.study.words import told

from .closeness import LIKE, RANDOM, distance
from .found import LAYERS
from .rows import CHANNELS, K_DENSE, PENALTIES, PRUNING, V_DENSE


def spectra(rows: Table) -> Grid:
    """How large the singular values are at the end, relative to the dense network's of the same seed and epoch."""
    return spectra_tables.spectra(rows, (*PRUNING, *PENALTIES), V_DENSE, LAYERS)


def closeness(rows: Table) -> Grid:
    """How far each run's course is from that of pruning by neurons' activity; random neurons are the yardstick."""
    labels = (*(each for each in PRUNING if each != LIKE), V_DENSE, *PENALTIES)
    return spectra_tables.closeness(rows, LIKE, labels, RANDOM, distance)


def shrinking(rows: Table) -> Grid:
    """By how much the first prune and the last shrink large singular values and small ones."""
    return spectra_tables.shrinking(rows, PRUNING)


def channels(rows: Table) -> Grid:
    """Filters removed by activity, by norm and at random: the same number in each layer, so the same MACs."""
    first = next(iter(CHANNELS))
    lines = []
    for label in (*CHANNELS, K_DENSE):
        macs, last = at_end(rows, label, "flops", scale=0.5e-3), accuracy(rows, label)
        gap = minus(accuracy(rows, first), last)
        compared = (show(gap), told(summed_up(gap), "better", "worse")) if label != first else (NOTHING, NOTHING)
        some = (show(macs, 1), show(zeros(rows, label)), show(at_end(rows, label, "cycles"), 1), show(last))
        lines.append((label, str(len(last)), *some, *compared))
    columns = ("row", "seeds (n)", "MACs (thousands)", "zeros (%)", "cycles (number)", "test accuracy (%)")
    return Grid((*columns, f"{first} minus this (points)", f"{first} is"), tuple(lines))
