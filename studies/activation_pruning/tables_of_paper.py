"""The paper's tables again: each printed number, ours beside it, and the verdict; and what those columns really are."""

from sapwood.study.cost_report import measured
from sapwood.study.finals import at_end
from sapwood.study.grid import NOTHING, Grid, number
from sapwood.study.printed import Printed, Shown, by_table
from sapwood.study.seeds import summed_up
from sapwood.study.table import Table

from .claims import CLAIMS, claim
from .found import as_pruned
from .printed import AVERAGED, COMPLETED, PRINTED, TABLE_1
from .rows import PAPER

SPLITS = {"train": "training", "valid": "validation", "test": "test"}
PLAIN = {
    "epochs": Shown("length", "epochs", 1),
    "zeros": Shown("zeros", "%", 2),
    "kflops": Shown("after pruning", "kFLOPs", 1),
}
BY_SPLIT = {
    "accuracy": "{} accuracy",
    "class0_top1": "{}, predicted as class 0",
    "class0_top5": "{}, class 0 in best 5",
}


def _seeds(rows: Table, table: int, label: str) -> tuple[str, str]:
    """How many seeds have finished, and how many made as many cycles as the paper's run; of an average, the fewest."""
    every = AVERAGED.get(table, {}).get(label, (label,))
    done = [at_end(rows, row, "cycles") for row in every]
    same = [len(as_pruned(rows, row, values)) for row, values in zip(every, done, strict=True)]
    return str(min(map(len, done))), str(min(same)) if every[0] in COMPLETED else NOTHING


def shown(column: str) -> Shown:
    """A column's name, unit and decimals; what is after retraining is not said here."""
    name = column.removeprefix("after ").removeprefix("pca ")
    if name.startswith("rank_"):
        return Shown(f"rank, layer {name[-1]}", "number", 1)
    metric, _, split = name.partition(" ")
    return PLAIN[metric] if metric in PLAIN else Shown(BY_SPLIT[metric].format(SPLITS[split]), "%", 2)


def titled(column: str) -> Shown:
    """A column as it is shown, with what is after retraining or of PCA named so."""
    if column == "pca accuracy test":
        return Shown("S minus PCA, test accuracy", "points", 2)
    first, plain = column.partition(" ")[0], shown(column)
    name = {"after": f"retrained: {plain.name}", "pca": f"PCA: {plain.name}"}.get(first, plain.name)
    return plain._replace(name=name)


TABLES = Printed(PRINTED, claim, titled, _seeds, ("seeds (n)", "seeds with the paper's cycles (n)"))
of_table, verdicts_by_table = TABLES.of_table, by_table(CLAIMS)


def quality(rows: Table) -> Grid:
    """What top-1 and top-5 really are, beside the two columns that the paper printed under those names, on test."""
    names = {"accuracy": "top-1, accuracy", "top5": "true top-5", "class0_top1": "predicted as class 0",
             "class0_top5": "class 0 among five best"}  # fmt: skip
    lines = []
    for label in PAPER:
        found = [at_end(rows, label, metric, "test", 100) for metric in names]
        lines.append((label, str(len(found[0])), *(number(summed_up(each), 2) for each in found)))
    return Grid(("row", "seeds (n)", *(f"{name} (%)" for name in names.values())), tuple(lines))


def complexity(rows: Table) -> Grid:
    """Table 1: the printed orders, and how time and memory were measured to grow with the number of weights."""
    lines = [(f"printed: {scope}", NOTHING, time, memory) for scope, (time, memory) in TABLE_1.items()]
    columns = ("prune", "sizes (n)", "time (order in neurons; growth with weights W)",
               "memory (order in neurons; growth with weights W)")  # fmt: skip
    return Grid(columns, (*lines, *measured(rows)))
