"""The verbs `run` and `report`: trials are chosen and run, then written up."""

import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path

import torch
import typer
from rich.console import Console
from rich.text import Text

from sapwood.cli import choosing, pools
from sapwood.cli.notices import say_what_is_kept, say_what_is_left, why
from sapwood.cli.progress import shown
from sapwood.cli.ranges import refuse_out_of_range
from sapwood.data import DATASETS, fetch
from sapwood.disk import there
from sapwood.errors import InputError
from sapwood.extras import optional
from sapwood.study.earlier import as_found
from sapwood.study.reached import elsewhere, in_a_line
from sapwood.study.report import first_lines, report
from sapwood.study.speed import FILE as SPEED
from sapwood.study.study import Study, find
from sapwood.study.table import read
from sapwood.study.terminal import terminal_table
from sapwood.tasks import TASK_DATA
from sapwood.trials import digests
from sapwood.trials.archive import add, copied, restore
from sapwood.trials.elsewhere import Elsewhere
from sapwood.trials.execution import finished, over, run_into, sums
from sapwood.trials.folder import make_folder, sealed
from sapwood.trials.telling import Tell
from sapwood.trials.trial import Trial
from sapwood.trials.turns import NotRun


@dataclass(frozen=True)
class Order:
    """What was typed after `sapwood run`."""

    study: str
    scale: str
    only: tuple[str, ...]
    changes: tuple[str, ...]
    pool: str | None
    workers: int | None
    cpus: float | None
    gpus: float | None
    device: str
    download: bool
    results: Path
    source: Path | None


def carry_out(order: Order) -> None:
    """Run the trials that are asked for and not done yet, and write the report; exit status 1 if one failed.

    `--only` narrows what is run now; the report still shows the whole scale, with what there is of it.
    """
    began = time.monotonic()
    refuse_unless_reports_can_be_written()
    if order.pool != pools.RAY:  # there, it is the workers' machines that need it
        _refuse_bad_device(order.device)
    torch.set_num_threads(1)  # here too, so that a trial gives the same bits in this process and in a worker
    study = find(order.study)
    trials = choosing.changed(study.at(order.scale), choosing.pairs(order.changes, "--set"))
    refuse_out_of_range(trials, choosing.pairs(order.changes, "--set"))
    chosen = choosing.only(trials, choosing.pairs(order.only, "--only"))
    folder = order.results / study.name
    _take_over(order.source, study, folder)
    trials, chosen = as_found(trials, folder), as_found(chosen, folder)
    waiting = choosing.with_needed(
        chosen, lambda trial: over(folder / trial.id), lambda trial: finished(folder / trial.id)
    )
    say_what_is_kept(choosing.without(chosen, waiting), folder)
    pool = pools.Asked(order.pool, order.workers, order.cpus, order.gpus, order.device)
    workers = pool.at_once(len(waiting))
    _prepare_data({TASK_DATA[trial.task] for trial in waiting if trial.task in TASK_DATA}, order.download)
    make_folder(folder)
    _say_what_is_to_come(waiting, workers)
    try:
        with _terminable():
            failed = _run(waiting, folder.absolute(), pool, order)
    except KeyboardInterrupt as stop:
        typer.echo(f"stopped; what is finished or saved is kept. To go on: {_same_command()}", err=True)
        raise typer.Exit(143 if isinstance(stop, Terminated) else 130) from stop
    for trial, error in failed:
        typer.echo(f"{trial.arm} seed {trial.seed} {why(error, folder / trial.id / 'failed')}", err=True)
    if study.extras and all(over(folder / trial.id) for trial in as_found(study.at(order.scale), folder)):
        study.extras(folder, order.scale)
    time_taken = _time_taken([folder / trial.id for trial in chosen], time.monotonic() - began, workers)
    _write_up(study, folder, trials, time_taken)
    say_what_is_left([trial for trial in choosing.without(trials, chosen) if not over(folder / trial.id)])
    if failed:
        raise typer.Exit(1)


def refuse_unless_reports_can_be_written() -> None:
    """ModuleNotFoundError if what a report needs is not installed: it is imported when all trials have been run."""
    for name in ("matplotlib", "jinja2", "scipy"):
        with optional("a report"):
            if find_spec(name) is None:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def _say_what_is_to_come(waiting: list[Trial], workers: int) -> None:
    """How much will be run, and that it may be stopped; how long it takes is said once some steps are made."""
    if len(waiting) > 1:
        arms, seeds = len({trial.arm for trial in waiting}), len({trial.seed for trial in waiting})
        counts = f"{arms} arm{'s' * (arms > 1)}, {seeds} seed{'s' * (seeds > 1)}"
        at_once = f"{workers} at a time" if workers > 1 else "one after another"
        typer.echo(
            f"{len(waiting)} trials ({counts}) to run, {at_once}; how long that may take is told after "
            "the first steps; Ctrl-C stops, and the same command goes on",
            err=True,
        )


def _say_what_is_unsealed(done: list[Path]) -> None:
    """Rows of earlier versions are read without a digest, but not without a word."""
    if number := sum(not sealed(folder) for folder in done):
        typer.echo(
            f"{number} trials have no digest of their rows, so nothing would tell if these were damaged: an earlier "
            "sapwood wrote them", err=True
        )  # fmt: skip


def _time_taken(folders: list[Path], here: float, workers: int) -> str:
    """What the trials that are over have taken, however often they were resumed, and what this command has."""
    seconds = [sums(folder)["seconds"] for folder in folders if over(folder)]
    command = f"this command took {_duration(here)} with {workers} {'worker' if workers == 1 else 'workers'}"
    took = f"{_duration(sum(seconds))} of computing"
    summed = ", summed over trials that ran side by side or waited" if workers > 1 else ""
    return f"{len(seconds)} trials, {took}{summed}; {command}"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def write_report(name: str, results: Path, source: Path | None, target: Path | None) -> None:
    """A study's report from the trials that are in its folder, without running any; they are also kept if asked."""
    refuse_unless_reports_can_be_written()
    study = find(name)
    folder = results / study.name
    _take_over(source, study, folder)
    trials = study.latest(folder)
    _say_what_is_unsealed([folder / trial.id for trial in trials if over(folder / trial.id)])
    typer.echo(f"reading {len(trials)} trials, drawing {len(study.figures)} figures ...", err=True)
    print(f"report: {report(study, folder, trials)}")
    if target is not None:
        number = add(folder, target / study.name, trials, _files(study))
        print(f"kept: {number} trials in {target / study.name}")


def _take_over(source: Path | None, study: Study, folder: Path) -> None:
    """Restore what was kept of the study's results and is not there."""
    if source is not None:
        if there(source / study.name):  # else what follows is one line that says so
            typer.echo(f"restoring what is kept in {source / study.name} ...", err=True)
        number = restore(source / study.name, folder)
        copied([name for name in _files(study) if not there(folder / name)], source / study.name, folder)
        typer.echo(f"{number} trials restored from {source / study.name}", err=True)
        if not digests.there(source / study.name):
            said = "has no digests.txt, so nothing says whether a number in it was edited; report --keep writes one"
            typer.echo(f"{source / study.name} {said}", err=True)


def _files(study: Study) -> tuple[str, ...]:
    """What is kept beside the trials."""
    return (*study.files, SPEED)


def _write_up(study: Study, folder: Path, trials: list[Trial], time_taken: str) -> None:
    """The report, and a table of the same trials on standard output."""
    _say_what_is_unsealed([folder / trial.id for trial in trials if over(folder / trial.id)])
    ends = [*study.ends(folder)] if study.ends else []  # what the report shows of them is in the folder by then
    path = report(study, folder, trials, command=_same_command())
    ids = [trial.id for trial in trials]
    rows = read(folder, ids)
    Console().print(terminal_table(study, rows), *(Text(f"- {line}") for line in first_lines(study, rows)), sep="\n")
    print("\n".join((*filter(None, [in_a_line(elsewhere(trials, rows))]), time_taken, f"report: {path}", *ends)))


class Terminated(KeyboardInterrupt):
    """SIGTERM: as Ctrl-C, by somebody else."""


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM end what is inside in order; elsewhere than in the main thread, it ends the process as it did."""

    def end(number: int, frame: object) -> None:
        raise Terminated

    here = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, end) if here else None
    try:
        yield
    finally:
        if here:
            signal.signal(signal.SIGTERM, before)


def _run(trials: list[Trial], folder: Path, pool: pools.Asked, order: Order) -> list[tuple[Trial, str]]:
    """The trials that failed, and why, after all have ended."""
    lost: dict[str, str] = {}  # trials that will not be finished, by id, and why
    ready = partial(_ready, folder=folder, lost=lost)
    job = partial(run_into, folder, device=order.device)
    if not pool.in_this_process(len(trials)):
        job = partial(_knowing, _found_anywhere(order.study), job)
    failed = []
    with shown(len(trials)) as view:
        ends = pool.ends(job, trials, view.tell, ready)
        with closing(ends):  # type: ignore[type-var]  # a generator: closing it ends the workers
            for trial, error in ends:
                view.end(trial, error)
                if error is not None:
                    failed.append((trial, error))
                    lost[trial.id] = "was not run" if isinstance(error, NotRun) else "failed"
    return failed


def _knowing(study: str, job: Callable[[Trial, Tell], None], trial: Trial, tell: Tell) -> None:
    """A worker's job: first it reads the study's file, which may put methods and tasks of its own into the tables."""
    _read(study)
    job(trial, tell)


_read = cache(find)  # once in each worker


def _found_anywhere(study: str) -> str:
    """A study's name, or its file such that a worker with another working folder finds it."""
    return str(Path(study).absolute()) if study.endswith(".py") else study


def _ready(trial: Trial, folder: Path, lost: Mapping[str, str]) -> bool | NotRun:
    """Whether all trials are finished that it uses; why it will never be ready, if one of them is `lost`."""
    for _, file in trial.uses:
        if isinstance(file, Elsewhere) and not file.path.is_file():
            return NotRun(f"it begins with {file.path} or learns from it, and there is no such file")
    for other in trial.others:
        if other.id in lost:
            return NotRun(f"arm {other.arm!r}, seed {other.seed}, {lost[other.id]}")
    return all(finished(folder / other.id) for other in trial.others)


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
        because = "torch has no such device" if "device type" in reason else reason.partition(". ")[0]
        raise InputError(f"--device {device!r} cannot be used here: {because}; {_devices(device)}") from error


def _devices(asked: str) -> str:
    """What can be given instead: the device that was meant, where there is one, and what there is."""
    gpus = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    meant = "cuda" if asked.lower().startswith(("gpu", "nvidia", "cud")) and gpus else "cpu"
    there = ["cpu", *(["cuda"] * bool(gpus)), *gpus]
    return f"did you mean {meant!r}? there is {', '.join(there)}" + (" and no GPU that torch can use" * (not gpus))


def _same_command() -> str:
    return shlex.join(["sapwood", *sys.argv[1:]])
