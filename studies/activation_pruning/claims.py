"""Claims: every number of the paper's tables 2-9 and 11-13, each with its tolerance.

Fixed while the first rows ran (`assumptions.CHANGED` says when), not changed since; ± around the printed number:

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

from collections.abc import Callable
from functools import partial

from sapwood.study.claim import Claim
from sapwood.study.printed import cells_of
from sapwood.study.seeds import summed_up
from sapwood.study.table import Summary, Table

from .found import average, printed_column
from .printed import AVERAGED, CALLED, PRINTED

SAID = {  # column of PRINTED, without its split: what it is, and its unit
    "epochs": "training length, epochs",
    "zeros": "share of zero weights, %",
    "kflops": "kFLOPs after pruning",
    "accuracy": "accuracy on {split}, %",
    "class0_top1": "predicted as class 0 on {split} (printed as Top 1 %), %",
    "class0_top5": "class 0 among the five best on {split} (printed as Top 5 %), %",
    "rank": "rank of hidden layer {layer}",
}
KINDS = {"after": "retrained: ", "pca": "PCA to its ranks: "}
REMARKS = {  # what has to be known about a printed number
    (4, "M", "zeros"): "the target; Table 5 has what was reached, 79.87",
    (4, "M", "accuracy valid"): "S had been trained on M's validation images",
    (8, "global, 10 cycles", "zeros"): "the mean of the paper's own rows is 78.47",
    (8, "local", "class0_top5 test"): "the mean of the paper's own rows is 74.92",
}


def claim(table: int, label: str, column: str, value: float) -> Claim:
    """The claim that a printed number is."""
    remark = REMARKS.get((table, label, column))
    text = f"{label}: {said(column)}" + (f" ({remark})" if remark else "")
    expected = claimed(column, value)
    return Claim(
        _where(table, label), text, expected, tolerance(table, label, column, value), _found(table, label, column)
    )


def said(column: str) -> str:
    """A column in words, with its unit."""
    if column == "pca accuracy test":
        return "test accuracy that PCA to its ranks takes from S, points"
    first, _, rest = column.partition(" ")
    kind, name = (KINDS[first], rest) if first in KINDS else ("", column)
    metric, _, split = name.partition(" ")
    metric, layer = ("rank", metric[-1]) if metric.startswith("rank") else (metric, "")
    return kind + SAID[metric].format(split=split, layer=layer)


def claimed(column: str, value: float) -> float:
    """What the rows are compared with: the printed number, for PCA networks how far it lies below the printed S."""
    if column != "pca accuracy test":
        return value
    standard = PRINTED[12]["S"]["accuracy test"]
    assert standard is not None
    return round(standard - value, 2)


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


def _where(table: int, label: str) -> str:
    called = f" (there {CALLED[label]})" if table in (6, 7) and label in CALLED else ""
    return f"Table {table}, row {label}{called}"


def _found(table: int, label: str, column: str) -> Callable[[Table], Summary | None]:
    if table in AVERAGED:
        return partial(average, table=table, label=label, column=column)
    return partial(_of_row, label=label, column=column)


def _of_row(rows: Table, label: str, column: str) -> Summary | None:
    return summed_up(printed_column(rows, label, column))


CLAIMS = tuple(claim(*cell) for cell in cells_of(PRINTED))
