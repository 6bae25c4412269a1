"""The paper's tables again: each printed number, ours beside it, and the verdict.

✓ reproduced, ✗ not reproduced, ? cannot be judged, by the claims' tolerances; no mark where nothing is judged.
"""

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from sapwood.errors import InputError
from sapwood.study.claim import MARKS, VERDICTS, Claim, Verdict, by_group, verdict
from sapwood.study.cost import Cost, Exponent, exponent
from sapwood.study.grid import NOTHING, Grid, number
from sapwood.study.seeds import summed_up
from sapwood.study.table import Summary, Table

from .claims import CLAIMS, claim
from .found import as_pruned, at_end
from .printed import AVERAGED, COMPLETED, PRINTED, TABLE_1
from .rows import PAPER

UNJUDGED = "not judged"


class Shown(NamedTuple):
    """How a column of PRINTED is shown."""

    name: str
    unit: str
    decimals: int


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


def judged(rows: Table) -> bool:
    """Whether verdicts mean anything: not at scale smoke."""
    return not rows or "smoke" not in str(rows[0].get("task", ""))


def of_table(table: int, *starts: str) -> Callable[[Table], Grid]:
    """A builder of one of the paper's tables, of its columns that start so (all without `starts`)."""
    columns = [name for name in next(iter(PRINTED[table].values())) if not starts or name.startswith(starts)]

    def build(rows: Table) -> Grid:
        titles = [f"{title}, {whose} ({unit})" for title, unit in map(_title, columns) for whose in ("printed", "ours")]
        lines = [_line(rows, table, label, columns) for label in PRINTED[table]]
        return Grid(("row", "seeds (n)", "seeds with the paper's cycles (n)", *titles, "verdicts"), tuple(lines))

    return build


def _line(rows: Table, table: int, label: str, columns: list[str]) -> tuple[str, ...]:
    printed, cells, said = PRINTED[table][label], [], []
    for column in columns:
        value = printed[column]
        if value is None:
            cells += [NOTHING, NOTHING]
            continue
        each = claim(table, label, column, value)
        cell, verdict_ = _ours(rows, each, shown(column).decimals)
        cells += [_as_printed(each.value), cell]
        said.append(verdict_)
    return (label, *_seeds(rows, table, label), *cells, in_words(said) if judged(rows) else UNJUDGED)


def _as_printed(value: float) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _ours(rows: Table, each: Claim, decimals: int) -> tuple[str, Verdict]:
    ours = each.found(rows)
    said = verdict(each, ours)
    mark = f" {MARKS[said]}" if judged(rows) and ours is not None else ""
    return number(ours, decimals) + mark, said


def in_words(said: list[Verdict]) -> str:
    """How many of each verdict, those that occur."""
    counts = Counter(said)
    return ", ".join(f"{counts[each]} {each}" for each in VERDICTS if counts[each]) or NOTHING


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


def _title(column: str) -> tuple[str, str]:
    if column == "pca accuracy test":
        return "S minus PCA, test accuracy", "points"
    first, name, unit = column.partition(" ")[0], *shown(column)[:2]
    return {"after": f"retrained: {name}", "pca": f"PCA: {name}"}.get(first, name), unit


def verdicts_by_table(rows: Table) -> Grid:
    """How many of the claims of each of the paper's tables have which verdict."""
    counted = by_group(CLAIMS, rows)
    total: Counter[Verdict] = sum(counted.values(), Counter())
    lines = [
        (group, str(each.total()), *(str(each[name]) if judged(rows) else NOTHING for name in VERDICTS))
        for group, each in (*counted.items(), ("all", total))
    ]
    return Grid(("table of the paper", "claims (n)", *(f"{name} (n)" for name in VERDICTS)), tuple(lines))


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
    """Table 1: the printed orders, and how time and memory were measured to grow with the number of weights.

    From rows "cost", which no trial makes: split is the step, metric "seconds" or "bytes", column "weights" the size.
    """
    costs = [
        Cost(row["split"], row["weights"], row["metric"], row["value"])
        for row in rows
        if row["row"] == "cost" and row["value"] is not None
    ]
    lines: list[tuple[str, ...]] = [
        (f"printed: {scope}", NOTHING, time, memory) for scope, (time, memory) in TABLE_1.items()
    ]
    seconds, held = _exponents(costs, "seconds"), _exponents(costs, "bytes")
    for step in dict.fromkeys(cost.kind for cost in costs):
        sizes = str(seconds[step].sizes) if step in seconds else NOTHING
        lines.append((f"measured: {step}", sizes, *(_power(each.get(step)) for each in (seconds, held))))
    columns = ("prune", "sizes (n)", "time (order in neurons; growth with weights W)",
               "memory (order in neurons; growth with weights W)")  # fmt: skip
    return Grid(columns, tuple(lines))


def _exponents(costs: list[Cost], metric: str) -> dict[str, Exponent]:
    try:
        return exponent(costs, metric)
    except InputError:  # of too few sizes
        return {}


def _power(found: Exponent | None) -> str:
    return NOTHING if found is None else f"W^{number(Summary(*found), 2)}"
