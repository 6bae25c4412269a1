"""Table: the rows of all trials in a folder, tidy - one number a row, everything known about it in columns."""

import csv
import io
import math
import statistics
from collections.abc import Hashable, Iterable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from sapwood import disk
from sapwood.extras import optional
from sapwood.study.possible import ANY, Measured, Range, between, cut, possible, within
from sapwood.tasks import goal_of
from sapwood.training import checkpoint
from sapwood.training.goal import ACCURACY, Goal
from sapwood.trials.folder import read_trial, rows_of
from sapwood.trials.rows import Row

Table = list[dict[str, Any]]  # columns: trial, arm, method, task, seed, those of Row, and every option; row: the arm's
# name in the last release


ARM = {"row": "arm"}  # what a column is called in files, by its name in the last release


class Summary(NamedTuple):
    """A mean over seeds and its 95 % interval, which one value alone does not have."""

    mean: float
    low: float | None
    high: float | None
    n: int


def read(folder: Path, trials: Iterable[str] | None = None) -> Table:
    """The rows of the `trials` with these ids, in this order, finished or not; without ids, of all in `folder`."""
    table: Table = []
    every = (file.parent.name for file in folder.glob("*/trial.json"))
    for each in sorted(every) if trials is None else dict.fromkeys(trials):
        if not disk.there(folder / each / "trial.json"):
            continue
        about = read_trial(folder / each)
        mine = {"trial": about["id"], "arm": about["row"]}
        mine |= {name: about[name] for name in ("row", "method", "task", "seed")}
        # Options last, and only under names that are free: an option may be called like a column.
        more = {name: value for name, value in about["options"].items() if name not in {*mine, *Row._fields}}
        table += [mine | row._asdict() | more for row in rows_of(folder / each)]
    return table


def write_csv(rows: Table, path: Path) -> None:
    """The table as CSV, in one step; options that a method does not have are empty."""
    columns = [*dict.fromkeys(ARM.get(name, name) for row in rows for name in row)] or ["trial", "arm", *Row._fields]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({ARM.get(name, name): value for name, value in row.items()} for row in rows)
    checkpoint.replace(path, text.getvalue().encode())


def final(rows: Table) -> Table:
    """The rows measured once, when a trial was over."""
    return [row for row in rows if row["phase"] is None]


def while_training(rows: Table) -> Table:
    """The rows seen along the way: one per epoch, and at each prune."""
    return [row for row in rows if row["phase"] is not None]


def summary(values: Iterable[float], possible: Range = ANY) -> Summary:
    """Mean and 95 % interval: mean ± t(0.975, n - 1) s / sqrt(n), s the standard deviation with n - 1.

    The interval ends where the range of `possible` values does: what lies beyond cannot be the mean anyway, so that it
    still has the true mean in 95 of 100 cases.
    """
    seen = [float(value) for value in values]
    mean = statistics.fmean(seen) if seen else math.nan
    if len(seen) < 2:
        return Summary(mean, None, None, len(seen))
    half = _quantile(len(seen) - 1) * statistics.stdev(seen) / math.sqrt(len(seen))
    return Summary(mean, cut(mean - half, possible, seen), cut(mean + half, possible, seen), len(seen))


@cache
def _quantile(freedom: int) -> float:
    """t(0.975) with so many degrees of freedom, as `scipy.stats` has it, which takes a second to import."""
    with optional("an interval"):
        from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.975))


def over_seeds(rows: Table, metric: str, split: str, by: str = "row") -> dict[Any, Summary]:
    """A final metric for each value of column `by`, in the order they come; trials that lack it do not count."""
    return {key: summary(values.values(), within(values)) for key, values in by_seed(rows, metric, split, by).items()}


def difference(rows: Table, metric: str, split: str, first: Hashable, second: Hashable) -> Summary | None:
    """The final metric of arm `first` minus that of `second`, seed by seed; None without a seed that both have."""
    found = by_seed(rows, metric, split)
    one, other = found.get(first, {}), found.get(second, {})
    pairs = [one[seed] - other[seed] for seed in one if seed in other]
    return summary(pairs, between(possible(metric), possible(metric))) if pairs else None


def by_epoch(rows: Table, metric: str, split: str, label: str) -> dict[int, list[float]]:
    """A metric of one arm at the end of each epoch, one value per seed."""
    found: dict[int, list[float]] = {}
    for row in while_training(rows):
        if (row["metric"], row["split"], row["row"]) == (metric, split, label) and row["value"] is not None:
            found.setdefault(row["epoch"], []).append(row["value"])
    return dict(sorted(found.items()))


def labels(rows: Table) -> list[str]:
    """The arms' labels in the order they come."""
    return list(dict.fromkeys(row["row"] for row in rows))


def goals(rows: Table) -> list[Goal]:
    """Return the goals of the rows' tasks in the order they come; of no rows accuracy."""
    names = dict.fromkeys(row.get("task", "") for row in rows)
    return list(dict.fromkeys(map(goal_of, names))) or [ACCURACY]


def by_seed(rows: Table, metric: str, split: str, by: str = "row") -> dict[Any, dict[int, float]]:
    """A final metric for each value of column `by`, seed by seed, `Measured` with what is possible."""
    found: dict[Any, dict[int, float]] = {}
    for row in final(rows):
        if (row["metric"], row["split"]) == (metric, split) and row["value"] is not None and by in row:
            found.setdefault(row[by], Measured(within=possible(metric)))[row["seed"]] = row["value"]
    return found
