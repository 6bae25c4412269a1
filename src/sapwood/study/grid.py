"""Grid: a table for people - mean and 95 % interval over seeds, how many seeds - ready to be printed anywhere."""

from collections.abc import Sequence
from typing import NamedTuple

from sapwood.study.table import Summary, Table, goals, labels, over_seeds
from sapwood.training.goal import ACCURACY

NOTHING = "\u2013"  # a dash: the arm has no such number
MINUS = "\u2212"
NO_BREAK = "\u00a0"  # an interval stays on one line


class Grid(NamedTuple):
    """Columns with their units, and lines of text."""

    columns: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]


class Column(NamedTuple):
    """One column of `grid`: a final metric, and with how many decimals it is shown."""

    title: str
    metric: str
    split: str = "network"
    decimals: int = 0


def number(found: Summary | None, decimals: int = 3) -> str:
    """The mean, and the 95 % interval in brackets unless it is as narrow as the decimals shown."""
    if found is None or found.n == 0:
        return NOTHING
    ends = (found.mean, found.low, found.high)
    mean, low, high = ("" if end is None else f"{end:,.{decimals}f}".replace("-", MINUS) for end in ends)
    return mean if low == high else f"{mean} [{low},{NO_BREAK}{high}]"


def grid(rows: Table, *columns: Column) -> Grid:
    """One line for each arm of the study: its label, how many seeds have finished, the metrics asked for."""
    found = [over_seeds(rows, column.metric, column.split) for column in columns]
    finished = over_seeds(rows, "steps", "network")
    lines = []
    for label in labels(rows):
        seeds = str(finished[label].n if label in finished else 0)
        cells = (number(each.get(label), column.decimals) for each, column in zip(found, columns, strict=True))
        lines.append((label, seeds, *cells))
    return Grid(("arm", "seeds (n)", *(column.title for column in columns)), tuple(lines))


def overview(rows: Table) -> Grid:
    """What each arm reached, and at what price."""
    plain = grid(
        rows,
        Column("sparsity of all weights", "sparsity", decimals=3),
        Column("sparsity of hidden layers", "sparsity_hidden", decimals=3),
        Column("zeros (weights)", "zeros"),
        *(Column(f"test {goal.metric} ({goal.unit})", goal.metric, "test", 3) for goal in goals(rows)),
        *([Column("true top-5 (fraction)", "top5", "test", 3)] if ACCURACY in goals(rows) else []),
        Column("epochs", "epochs", decimals=1),
    )
    return _with_column(plain, 5, "cycles done of planned", _cycles(rows))


def short(rows: Table) -> Grid:
    """The overview as it fits a terminal of 80 columns."""
    judged = [Column(f"test {goal.metric}", goal.metric, "test", 3) for goal in goals(rows)]
    shares = (Column("sparsity", "sparsity", decimals=3), Column("hidden", "sparsity_hidden", decimals=3))
    plain = grid(rows, *shares, *judged, Column("epochs", "epochs", decimals=1))
    return _with_column(plain._replace(columns=("arm", "n", *plain.columns[2:])), 4, "cycles", _cycles(rows))


def ranks(rows: Table) -> Grid:
    """Rank and living neurons of each hidden layer."""
    layers = _layers(rows, "rank")
    columns = [Column(f"rank, layer {i}", f"rank_{i}", decimals=1) for i in layers]
    return grid(rows, *columns, *(Column(f"live neurons, layer {i}", f"live_{i}", decimals=1) for i in layers))


def sizes(rows: Table) -> Grid:
    """The meanings of "how much smaller" side by side; every ratio is before / after."""
    return grid(
        rows,
        Column("weights and biases / those not 0", "nonzero_ratio", decimals=2),
        Column("bits, dense / bit mask and values", "storage_ratio_bitmask", decimals=2),
        Column("bits, dense / sparse rows (CSR)", "storage_ratio_csr", decimals=2),
        Column("FLOPs, dense / of weights not 0", "flops_sparse_ratio", decimals=2),
        Column("FLOPs, dense / as dense kernels run it", "flops_dense_ratio", decimals=2),
        Column("bytes in memory, before / now", "memory_ratio", decimals=2),
    )


def _cycles(rows: Table) -> list[str]:
    """ "5 of 5"; without a plan just how many prunes there were."""
    done, planned = over_seeds(rows, "cycles", "network"), over_seeds(rows, "cycles_planned", "note")
    cells = []
    for label in labels(rows):
        cell = number(done.get(label), 1).replace(".0", "")
        cells.append(f"{cell} of {planned[label].mean:.0f}" if label in planned else cell)
    return cells


def _with_column(table: Grid, at: int, title: str, cells: Sequence[str]) -> Grid:
    lines = tuple((*line[:at], cell, *line[at:]) for line, cell in zip(table.lines, cells, strict=True))
    return Grid((*table.columns[:at], title, *table.columns[at:]), lines)


def _layers(rows: Table, metric: str) -> list[int]:
    names = {row["metric"] for row in rows if row["split"] == "network"}
    return sorted(int(name.removeprefix(f"{metric}_")) for name in names if name.removeprefix(f"{metric}_").isdigit())
