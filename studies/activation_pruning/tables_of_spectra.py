"""Tables of the singular-value runs (section 5.6) and of the channels."""

from sapwood.study.grid import NOTHING, Grid
from sapwood.study.seeds import minus, summed_up
from sapwood.study.table import Table

from .closeness import LIKE, QUANTITIES, RANDOM, distance
from .found import LAYERS, accuracy, at_end, over, told, zeros
from .rows import CHANNELS, K_DENSE, PENALTIES, PRUNING, V_DENSE
from .shrinking import shrunk
from .tables_of_controls import show


def spectra(rows: Table) -> Grid:
    """How large the singular values are at the end, relative to the dense network's of the same seed and epoch."""
    lines = []
    for label in (V_DENSE, *PRUNING, *PENALTIES):
        parts = [_relative(rows, label, f"nuclear_{layer}") for layer in LAYERS]
        ranks = [at_end(rows, label, f"effective_rank_{layer}") for layer in LAYERS]
        last = accuracy(rows, label)
        gap = show(minus(last, accuracy(rows, V_DENSE))) if label != V_DENSE else NOTHING
        some = (str(len(last)), show(at_end(rows, label, "cycles"), 1), show(zeros(rows, label)), show(last), gap)
        lines.append((label, *some, *(show(each, 1) for each in (*parts, *ranks))))
    columns = ("row", "seeds (n)", "cycles (number)", "zeros (%)", "test accuracy (%)", f"minus {V_DENSE} (points)")
    nuclear = (f"nuclear norm, layer {layer} (% of {V_DENSE})" for layer in LAYERS)
    return Grid((*columns, *nuclear, *(f"effective rank, layer {layer} (number)" for layer in LAYERS)), tuple(lines))


def _relative(rows: Table, label: str, metric: str) -> dict[int, float]:
    return over(at_end(rows, label, metric, scale=100), at_end(rows, V_DENSE, metric))


def closeness(rows: Table) -> Grid:
    """How far each run's course is from that of pruning by neurons' activity; random neurons are the yardstick."""
    yardstick = distance(rows, LIKE, RANDOM)
    lines = []
    for label in (*(each for each in PRUNING if each != LIKE), V_DENSE, *PENALTIES):
        whole = distance(rows, LIKE, label)
        gap = minus(whole, yardstick)
        said = told(summed_up(gap), "further", "closer") if label != RANDOM else NOTHING
        parts = (show(distance(rows, LIKE, label, (quantity,)), 3) for quantity in QUANTITIES)
        lines.append(
            (label, str(len(whole)), show(whole, 3), *parts, show(gap, 3) if label != RANDOM else NOTHING, said)
        )
    by = (f"by {quantity.replace('_', ' ')} alone (natural log)" for quantity in QUANTITIES)
    columns = ("row", "seeds (n)", f"distance from {LIKE} (natural log)", *by, f"minus that of {RANDOM} (natural log)")
    return Grid((*columns, f"than {RANDOM}"), tuple(lines))


def shrinking(rows: Table) -> Grid:
    """By how much the first prune and the last shrink large singular values and small ones."""
    lines = []
    for label in PRUNING:
        for which, prune in (("first", 0), ("last", -1)):
            large, small = shrunk(rows, label, prune, 0.0, 0.1), shrunk(rows, label, prune, 0.5, 1.0)
            gap = minus(small, large)
            said = told(summed_up(gap), "less", "more")
            lines.append((label, f"{which} prune", str(len(large)), *map(show, (large, small, gap)), said))
    columns = ("row", "when", "seeds (n)", "largest tenth (% change)", "smaller half (% change)",
               "smaller half minus largest tenth (points)", "the smaller half shrinks")  # fmt: skip
    return Grid(columns, tuple(lines))


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
