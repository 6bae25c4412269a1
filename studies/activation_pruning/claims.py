"""Claims: every number of the paper's tables 2-9 and 11-13, each with its tolerance.

Fixed while the first arms ran (`assumptions.CHANGED` says when), not changed since; ± around the printed number:

    share of zeros          0.005 points, half of the last digit printed (0.5 where no decimals are printed)
      averages of them      0.01 points: the paper averages numbers that are rounded already
      after retraining      5 points
      (both, FLOPs and ranks: over the seeds that made as many cycles as the paper's run, which they follow from)
    FLOPs                   0.5 kFLOPs
    rank                    10 %, at least 2: it varies with the seed
    accuracy                1 point, the noise of one run around its mean; training: the running mean of the last epoch
      of S                  4 points, the spread that the stopping rule gives a network whose last weights count
      of the PCA networks   2 points, on how far they fall below S: the paper's S is weaker than ours
    epochs                  30 %: one draw of a time at which early stopping strikes
    "Top 1 %", "Top 5 %"    3 and 15 points. They are not top-k accuracies: the metric was given whole-number labels
                            where it expects one-hot ones, so they are the share predicted as class 0, and the share
                            with class 0 among the five best; both swing from epoch to epoch and say nothing about
                            quality

The verdict is `sapwood.study.claim.verdict`. A single seed outside the band is not judged, it has no interval.
"""

from functools import partial

from sapwood.study.claim import Claim
from sapwood.study.finals import cycles, summed
from sapwood.study.grid import NOTHING
from sapwood.study.printed import Cell, Printed, Shown, by_table, cells_of
from sapwood.study.seeds import Seeds
from sapwood.study.strictness import Strictness
from sapwood.study.table import Table
from sapwood.study.thrice import Thrice

from .arms import GLOBAL, LOCAL
from .columns import accuracy, as_pruned, average, measure, printed_number
from .printed import AVERAGED, CALLED, COMPLETED, PRINTED, in_print

REMARKS = {  # what has to be known about a printed number
    (4, "M", "zeros"): "the target; Table 5 has what was reached, 79.87",
    (4, "M", "accuracy valid"): "S had been trained on M's validation images",
    (8, "global, 10 cycles", "zeros"): "the mean of the paper's own rows is 78.47",
    (8, "local", "class0_top5 test"): "the mean of the paper's own rows is 74.92",
}
CLASS_0, FIXED, FREE = "columns that count class 0", "zeros as pruned and FLOPs", "the rest"


def claim(table: int, label: str, column: str, value: float) -> Claim:
    """The claim that a printed number is; of PCA networks how far it lies below the printed S."""
    remark = REMARKS.get((table, label, column))
    called = f" (there {CALLED[label]})" if table in (6, 7) and label in CALLED else ""
    return Claim(
        f"Table {table}, row {label}{called}",
        f"{label}: {measure(column).said}" + (f" ({remark})" if remark else ""),
        round(in_print(12, "S", "accuracy test") - value, 2) if column == "pca accuracy test" else value,
        tolerance(table, label, column, value),
        partial(average, table=table, label=label, column=column)
        if table in AVERAGED
        else summed(printed_number(column), label),
    )


def tolerance(table: int, label: str, column: str, value: int | float) -> float:
    """The list at the top of this file."""
    metric = column.removeprefix("after ").removeprefix("pca ").partition(" ")[0]
    if metric == "zeros":
        return 5.0 if column.startswith("after ") else _of_zeros(table, value)
    if metric == "accuracy":
        return 2.0 if column.startswith("pca ") else 4.0 if label == "S" else 1.0
    if metric.startswith("rank"):
        return max(2.0, 0.1 * value)
    return {"kflops": 0.5, "epochs": 0.3 * value, "class0_top1": 3.0, "class0_top5": 15.0}[metric]


def _of_zeros(table: int, value: int | float) -> float:
    return 0.01 if table in AVERAGED else 0.5 if isinstance(value, int) else 0.005


def _shown(column: str) -> Shown:
    return measure(column).shown


def _seeds(rows: Table, table: int, label: str) -> tuple[str, str]:
    """How many seeds have finished, and how many made as many cycles as the paper's run; of an average, the fewest."""
    every = AVERAGED.get(table, {}).get(label, (label,))
    done, same = (min(len(number(rows, arm)) for arm in every) for number in (cycles, as_pruned(cycles)))
    return str(done), str(same) if every[0] in COMPLETED else NOTHING


def _sort(cell: Cell) -> str:
    """The first swing from run to run; the second are fixed once the cycles are the paper's; the rest are not."""
    if "class0" in cell.column:
        return CLASS_0
    return FIXED if cell.column == "zeros" or cell.column.startswith("kflops") else FREE


def random_instead(rows: Table) -> tuple[int, int, int]:
    """Accuracies printed of pruned arms: how many our arms reproduce, how many random neurons under G1's schedule do in
    the place of each of them, of how many.
    """
    mine = [cell for cell in cells_of(PRINTED) if cell.label in (*GLOBAL, *LOCAL)]
    mine = [cell for cell in mine if cell.column.startswith("accuracy ")]

    def control(cell: Cell) -> Seeds:
        return accuracy(rows, "C random neuron", cell.column.split()[1])

    return STRICTNESS.instead(rows, mine, control)


TABLES = Printed(PRINTED, claim, _shown, _seeds, ("seeds (n)", "seeds with the paper's cycles (n)"))
CLAIMS = tuple(claim(*cell) for cell in cells_of(PRINTED))
STRICTNESS = Strictness(TABLES, (CLASS_0, FIXED, FREE), _sort)
THRICE = Thrice(STRICTNESS, CLASS_0, "C random neuron")
of_table, verdicts_by_table = TABLES.of_table, by_table(CLAIMS)
