"""Milliseconds: how long the networks of a study's arms take, in turn in one process, on one thread.

Two engines, batches of 16 and of 1; every network is compared with the first one of its task, round by round. It is
measured once, when all trials are over and their weights are there, and kept beside them as FILE.
"""

import csv
import io
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import nn

from sapwood import disk, export, measure
from sapwood.errors import InputError
from sapwood.schema import Unexpected, brief, read_number
from sapwood.study.columns import Column, mean
from sapwood.study.finals import number_of
from sapwood.study.table import Table
from sapwood.tasks import TASKS
from sapwood.trials.folder import WEIGHTS
from sapwood.trials.left import built
from sapwood.trials.trial import Trial

FILE = "milliseconds.csv"
ENGINES, BATCHES, ROUNDS = ("ONNX Runtime", "PyTorch"), (16, 1), 20
WHAT = ("ms", "faster")  # milliseconds; how many times as fast as the first network
COLUMNS = ("arm", "task", "engine", "batch", *WHAT, "lower", "upper")


def measured(folder: Path, trials: Iterable[Trial]) -> None:
    """Time the networks that these trials left, task by task; those that were timed before are not timed again.

    Of a task some of whose trials have no weights in `folder`, as kept results have none, nothing is timed.
    """
    mine = list(trials)
    for task in dict.fromkeys(trial.task for trial in mine):
        lines = _lines(folder)
        there = {trial.arm: folder / trial.id for trial in mine if trial.task == task}
        known = {line["arm"] for line in lines}
        if there.keys() <= known or not all(disk.there(place / WEIGHTS) for place in there.values()):
            continue
        found = times({arm: built(place, TASKS[task]().model, task) for arm, place in there.items()}, task)
        _write(folder / FILE, [*(line for line in lines if line["task"] != task), *found])


def times(networks: Mapping[str, nn.Module], task: str, rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """A line for each network, engine and batch, of COLUMNS; CPU time, since other processes may be busy."""
    lines, first = list[dict[str, Any]](), next(iter(networks))
    for batch in BATCHES:
        x, cases = TASKS[task]().data.test.take(slice(0, batch)).inputs, dict[tuple[str, str], Callable[..., Any]]()
        with TemporaryDirectory() as place:
            for number, (arm, model) in enumerate(networks.items()):
                export.to_onnx(model.eval(), x, file := Path(place) / f"{number}.onnx")
                cases |= {(arm, ENGINES[0]): measure.in_onnxruntime(file), (arm, ENGINES[1]): model}
            called = {"\n".join(case): run for case, run in cases.items()}
            found = measure.latency(called, x, rounds=rounds, clock=time.process_time)
        for arm, engine in cases:
            mine, whole = (found[f"{each}\n{engine}"] for each in (arm, first))
            gain = measure.ratio(whole, mine)
            numbers = (1e3 * mine.median, gain.median, gain.lower, gain.upper)
            lines.append(dict(zip(COLUMNS, (arm, task, engine, batch, *(f"{n:.4f}" for n in numbers)), strict=True)))
    return lines


def as_rows(folder: Path) -> Table:
    """The times as final rows of seed 0: metrics "ms ENGINE BATCH" and "faster ENGINE BATCH"; none where no FILE is."""
    return [
        {"row": line["arm"], "task": line["task"], "seed": 0, "phase": None, "split": "network",
         "metric": f"{what} {line['engine']} {line['batch']}", "value": read_number(line[what])}
        for line in _lines(folder)
        for what in WHAT
    ]  # fmt: skip


def columns() -> list[Column]:
    """A table's columns: how long an arm's network takes, and how many times as fast as the first it is."""
    return [
        mean(f"{engine}, batch {batch} ({unit})", number_of(f"{what} {engine} {batch}"))
        for engine in ENGINES
        for batch in BATCHES
        for what, unit in zip(WHAT, ("ms", "times faster"), strict=True)
    ]


def _lines(folder: Path) -> list[dict[str, Any]]:
    path = folder / FILE
    if not disk.there(path):
        return []
    try:
        lines = [*csv.DictReader(io.StringIO(disk.read(path).decode("utf-8")), strict=True)]
        for line in lines:
            if tuple(line) != COLUMNS or None in line.values():
                raise Unexpected("a line has other columns")
            for what in WHAT:
                read_number(line[what])
    except (UnicodeDecodeError, csv.Error, Unexpected) as error:
        raise InputError(f"{path} is damaged ({brief(error)}); remove it, and the times are measured again") from error
    return lines


def _write(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    disk.replace(path, text.getvalue().encode())
