"""Found: the paper's columns among the numbers of the study's rows, one a seed."""

from sapwood.study.finals import accuracy, at_end
from sapwood.study.seeds import Seeds, minus, summed_up, together
from sapwood.study.table import Summary, Table, summary

from .printed import AVERAGED, COMPLETED

LAYERS = (1, 2, 3, 4)


def total_rank(rows: Table, label: str, metric: str = "rank") -> Seeds:
    """The sum of a metric over the hidden layers."""
    return together((at_end(rows, label, f"{metric}_{layer}") for layer in LAYERS), sum)


def as_pruned(rows: Table, label: str, values: Seeds) -> Seeds:
    """The seeds in which the row made as many cycles as the paper's run did; all where no number of cycles is known."""
    if label not in COMPLETED:
        return values
    made = at_end(rows, label, "cycles")
    return {seed: value for seed, value in values.items() if made.get(seed) == COMPLETED[label]}


def printed_column(rows: Table, label: str, column: str) -> Seeds:
    """Our numbers of a column of `PRINTED`, in its unit; "pca accuracy test" is the drop from S, in points."""
    row = label
    if column.startswith("after "):
        row, column = f"{label} retrained", column.removeprefix("after ")
    elif column == "pca accuracy test":
        return minus(accuracy(rows, "S"), accuracy(rows, f"{label} PCA printed ranks"))
    elif column.startswith("pca "):
        row, column = f"{label} PCA printed ranks", column.removeprefix("pca ")
    metric, _, split = column.partition(" ")
    if metric == "accuracy":
        return accuracy(rows, row, split)
    if metric in ("class0_top1", "class0_top5"):
        return at_end(rows, row, metric, split, 100)
    if metric == "epochs":
        return at_end(rows, row, "epochs")
    plain = {"zeros": ("sparsity", 100.0), "kflops": ("flops", 1e-3)}
    name, scale = plain.get(metric, (metric, 1.0))
    return as_pruned(rows, label, at_end(rows, row, name, scale=scale))


def average(rows: Table, table: int, label: str, column: str) -> Summary | None:
    """A line of Tables 8 or 9. Zeros: the mean of its rows' means, each over the seeds that `as_pruned` lets through,
    and of their intervals' ends, which is wider than needed; n is the fewest. Others: the mean over rows, seed by seed.
    """
    every = [printed_column(rows, row, column) for row in AVERAGED[table][label]]
    if column != "zeros":
        return summed_up(together(every, lambda values: sum(values) / len(values)))
    found = [summary(values.values()) for values in every]
    if any(each.n == 0 for each in found):
        return None
    mean, low, high = (_mean([each[at] for each in found]) for at in range(3))
    return Summary(mean or 0.0, low, high, min(each.n for each in found))


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None
