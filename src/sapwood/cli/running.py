"""The verbs `run` and `report`: trials are chosen and run, then written up."""

import os
import shlex
import sys
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import typer
from rich.console import Console

from sapwood.cli import choosing
from sapwood.cli.progress import shown
from sapwood.data import DATASETS, fetch
from sapwood.errors import InputError
from sapwood.study.pool import processes, serial
from sapwood.study.provenance import commit
from sapwood.study.report import report
from sapwood.study.run import read_trial, run_into
from sapwood.study.study import Study, find
from sapwood.study.table import in_order, read
from sapwood.study.terminal import terminal_table
from sapwood.study.trial import Trial
from sapwood.tasks import TASK_DATA


@dataclass(frozen=True)
class Order:
    """What was typed after `sapwood run`."""

    study: str
    scale: str
    only: tuple[str, ...]
    changes: tuple[str, ...]
    pool: str | None
    workers: int | None
    device: str
    download: bool
    results: Path


def carry_out(order: Order) -> None:
    """Run the trials that are asked for and not done yet, and write the report; exit status 1 if one failed.

    `--only` narrows what is run now; the report still shows the whole scale, with what there is of it.
    """
    torch.set_num_threads(1)  # here too, so that a trial gives the same bits in this process and in a worker
    study = find(order.study)
    trials = choosing.changed(study.at(order.scale), choosing.pairs(order.changes, "--set"))
    chosen = choosing.only(trials, choosing.pairs(order.only, "--only"))
    folder = order.results / study.name
    waiting = [trial for trial in chosen if not (folder / trial.id / "done").exists()]
    _say_what_is_kept([folder / trial.id for trial in chosen if trial not in waiting])
    workers = _workers(order, len(waiting))
    _refuse_bad_device(order.device)
    _prepare_data({TASK_DATA[trial.task] for trial in waiting}, order.download)
    try:
        failed = _run(waiting, folder, workers, order.device)
    except KeyboardInterrupt as stop:
        typer.echo(f"stopped; what is finished or saved is kept. To go on: {_same_command()}", err=True)
        raise typer.Exit(130) from stop
    for trial in failed:
        typer.echo(f"{trial.row} seed {trial.seed} failed: see {folder / trial.id / 'failed'}", err=True)
    _write_up(study, folder, trials)
    if failed:
        raise typer.Exit(1)


def _say_what_is_kept(done: list[Path]) -> None:
    """Finished trials are not run again; say so, above all when the code is not the one that made them."""
    if not done:
        return
    now = commit() or "+"  # "+": not known, or with changes of which nobody knows when they were made
    other = [f for f in done if "+" in now or any(life["commit"] != now for life in read_trial(f)["provenance"])]
    more = f"; {len(other)} of them may be of other code: a new --results folder runs them afresh" if other else ""
    typer.echo(f"{len(done)} trials were finished before and are not run again{more}", err=True)


def write_report(name: str, results: Path) -> None:
    """A study's report from the trials that are in its folder, without running any."""
    study = find(name)
    print(f"report: {report(study, results / study.name)}")


def _write_up(study: Study, folder: Path, trials: list[Trial]) -> None:
    """The report, and a table of the same trials on standard output."""
    path = report(study, folder, trials, command=_same_command())
    ids = [trial.id for trial in trials]
    Console().print(terminal_table(study, in_order(read(folder, ids), ids)))
    print(f"report: {path}")


def _run(trials: list[Trial], folder: Path, workers: int, device: str) -> list[Trial]:
    """The trials that failed, after all have ended."""
    pool = processes(workers) if workers > 1 else serial
    failed = []
    with shown(len(trials)) as view:
        ends = pool(partial(run_into, folder, device=device), trials, view.tell)
        with closing(ends):  # type: ignore[type-var]  # a generator: closing it ends the workers
            for trial, error in ends:
                view.end(trial, error)
                failed += [trial] if error is not None else []
    return failed


def _workers(order: Order, trials: int) -> int:
    """How many processes: as asked, else one per core that we may use, never more than there are trials."""
    if order.pool == "serial" and (order.workers or 1) > 1:
        raise InputError(
            f"--pool serial runs one trial at a time, so --workers {order.workers} cannot be; drop one of the two"
        )
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 1 if order.pool == "serial" else min(order.workers or cores, max(1, trials))


def _prepare_data(names: Iterable[str], download: bool) -> None:
    """See that the data sets are there before any trial starts; only --download may fetch them."""
    for name in sorted(names):
        if download:
            fetch(name, partial(_show_fetching, name))
        DATASETS[name].load()


def _show_fetching(name: str, done: int, total: int | None) -> None:
    if done == 0:
        typer.echo(f"fetching {name}" + (f", {total / 1e6:.1f} MB" if total else ""), err=True)


def _refuse_bad_device(device: str) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"--device {device!r} cannot be used here: {reason}; give cpu, or a device that torch has"
        ) from error


def _same_command() -> str:
    return shlex.join(["sapwood", *sys.argv[1:]])
