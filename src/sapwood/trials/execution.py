"""Run: one trial, in its folder - recorded as it goes, saved every so often, resumed where it stopped, or left alone.

trial.json         identity, options, provenance of each life     rows.jsonl           what was found
state.safetensors  the latest checkpoint, while it runs           weights.safetensors  the network (`study.left`)
done               when it is over                                failed               the traceback, when it fails
kept               instead of `done`: over, without weights, which were not restored (`trials.archive`), or whose task
                   is a `large` one
running            the number of the process that is at work
"""

import gc
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from sapwood import disk
from sapwood.errors import InputError
from sapwood.methods import METHODS
from sapwood.tasks import TASKS
from sapwood.tasks.recipe import taught, with_recipe
from sapwood.training import checkpoint
from sapwood.training.loop import Update
from sapwood.training.run import Given, Run, fingerprint, start
from sapwood.training.state import refuse_other_words
from sapwood.training.task import Task
from sapwood.trials.elsewhere import Elsewhere
from sapwood.trials.final import final_measures
from sapwood.trials.folder import OVER, ending, forget, in_json, tells_its_network, weights_of
from sapwood.trials.folder import Busy as Busy
from sapwood.trials.folder import alone as alone
from sapwood.trials.folder import finished as finished
from sapwood.trials.folder import make_folder as make_folder
from sapwood.trials.folder import over as over
from sapwood.trials.folder import read_trial as read_trial
from sapwood.trials.folder import sums as sums
from sapwood.trials.left import built, leave
from sapwood.trials.own_code import own_code
from sapwood.trials.provenance import provenance, usable
from sapwood.trials.record import Final, Record, Save
from sapwood.trials.rows import RowFile, cut
from sapwood.trials.telling import Progress as Progress
from sapwood.trials.telling import Tell, Voice, ignore, say
from sapwood.trials.trace import TRACES
from sapwood.trials.trial import Trial, split_recipe


class Ways(NamedTuple):
    """How a trial comes by its task, and by its steps: a pool may have ways of its own."""

    task: Callable[[str], Task] = lambda name: TASKS[name]()
    step: Callable[[Run, Update], float | Tensor] | None = None


USUAL = Ways()


def run_into(results: Path, trial: Trial, tell: Tell = ignore, *, device: str = "cpu", ways: Ways = USUAL) -> None:
    """`run_trial` in the folder named after the trial's id: the job that pools are given, with `results` filled in."""
    try:
        run_trial(trial, results / trial.id, device=device, tell=tell, ways=ways)
    except Busy as busy:
        tell(say(trial, f"{str(busy).partition(';')[0]}; it comes again after the others"))
        raise
    finally:
        # Runs, records and hooks refer to each other, and Python's collector, which counts objects and not bytes, would
        # let data sets and networks of many trials gather. Who is stopped goes at once.
        if isinstance(sys.exception(), Exception | None):
            gc.collect()


def run_trial(
    trial: Trial,
    folder: Path,
    *,
    device: str = "cpu",
    tell: Tell = ignore,
    save_every: float = 10.0,
    final: Final = final_measures,
    ways: Ways = USUAL,
) -> None:
    """Make the trial's results exist: nothing to do, go on from the last save, or start.

    Saves when `save_every` seconds have passed, between two steps. An exception leaves its traceback in `failed`.
    """
    usable(device)
    make_folder(folder)
    _refuse_other_trial(trial, folder)
    if finished(folder):
        forget([folder / "state.safetensors"])
        tell(say(trial, "done before", done=1.0, finished=True))
        return
    with alone(folder), _failures_kept(folder):
        if finished(folder):  # by another process, since it was asked
            return
        _live(trial, folder, device, tell, save_every, final, ways)


def _live(trial: Trial, folder: Path, device: str, tell: Tell, save_every: float, final: Final, ways: Ways) -> None:
    """One life of a trial: from its start or its last save to its end."""
    state_file = folder / "state.safetensors"
    state = checkpoint.read(state_file) if disk.there(state_file) else None
    if state is not None:
        refuse_other_words(state, str(state_file))
    given = {name: _given(trial, name, other, folder.parent, device) for name, other in trial.uses}
    task = _task(trial, given, ways.task)
    run = start(task, trial.seed, device=device, saved=state)
    run.given, run.origin, run.stepping = given, str(state_file), ways.step
    if "start" in given:
        _begin(run, given["start"])
    forget(folder / name for name in OVER)  # what was said of an earlier result whose weights are not there
    _introduce(trial, folder, device, task, resumed=state is not None)
    kept = cut(folder / "rows.jsonl", state["step"] if state else -1)
    with RowFile(folder / "rows.jsonl") as rows:
        record = Record(run, rows, Save(state_file, save_every), [TRACES[each] for each in trial.traces], kept, state)
        voice = Voice(trial, run, tell)
        voice.begin(state["step"] if state else None)
        with closing(METHODS[trial.method](run, **trial.all_options())) as moments:  # type: ignore[type-var]
            for moment in moments:
                record.see(moment)
                voice.hear(moment)
        record.end(final)
    if not task.large:
        leave(run, folder)
    end = folder / ("kept" if task.large else "done")
    _write_json(end, ending(record.sums(), disk.read(folder / "rows.jsonl")))
    forget([state_file])
    tell(say(trial, "done", done=1.0, finished=True))


def _task(trial: Trial, given: Mapping[str, Given], made: Callable[[str], Task]) -> Task:
    """The trial's task under its recipe, with the teacher that it may have."""
    recipe, teaching = split_recipe(dict(trial.recipe))
    task = with_recipe(made(trial.task), **recipe)
    if "teacher" not in given:
        if teaching:
            raise InputError(
                f"arm {trial.arm!r} has {', '.join(teaching)} but no teacher; give one: after(teacher=...)"
            )
        return task
    return taught(task, given["teacher"].network(), **teaching)


def _begin(run: Run, given: Given) -> None:
    """With the network that another trial left, without its masks."""
    if given.rebuilt:
        run.become(given.network())
    else:
        run.rewind(given.weights)


def _given(trial: Trial, name: str, other: Trial | Elsewhere, results: Path, device: str) -> Given:
    """What it is given as `name`, which a trial in `results` or a file holds."""
    if isinstance(other, Trial):
        return _left(trial, other, results / other.id, device)
    return other.given(_network_of(trial) if name == "start" else TASKS[trial.task]().model, device)


def _left(trial: Trial, other: Trial, folder: Path, device: str) -> Given:
    if not finished(folder):
        raise InputError(
            f"arm {trial.arm!r} goes on from arm {other.arm!r}, seed {other.seed}, which is not finished in {folder}; "
            "run that one first"
        )
    saved = weights_of(folder)
    weights, masks = ({name: t.to(device) for name, t in saved[part].items()} for part in ("model", "masks"))
    build = lambda: built(folder, _network_of(other), other.task).to(device)  # noqa: E731
    return Given(weights, masks, float(sums(folder)["epochs"]), tells_its_network(folder), build)


def _network_of(trial: Trial) -> Callable[[], nn.Module]:
    """What makes the network that a trial begins with."""
    return with_recipe(TASKS[trial.task](), **split_recipe(dict(trial.recipe))[0]).model


def _refuse_other_trial(trial: Trial, folder: Path) -> None:
    """The folder is this trial's, or nobody's yet; a new label of the same trial is written down."""
    path = folder / "trial.json"
    if not disk.there(path):
        return
    found = read_trial(folder)
    if found["identity"] != trial.identity:
        raise InputError(
            f"{folder} holds another trial, {found['identity']}; this one is {trial.identity}; "
            "use another results folder, or delete that one"
        )
    if found["row"] != trial.arm:
        _write_json(path, found | {"row": trial.arm})


def _introduce(trial: Trial, folder: Path, device: str, task: Task, *, resumed: bool) -> None:
    """Write trial.json; every life adds what it was made with."""
    earlier = read_trial(folder)["provenance"] if resumed else []
    about = {"id": trial.id, "row": trial.arm, "method": trial.method, "task": trial.task, "seed": trial.seed}
    more = {"options": trial.all_options() | dict(trial.recipe), "identity": trial.identity, "data": fingerprint(task)}
    own = {"own": code} if (code := own_code(trial)) else {}
    _write_json(folder / "trial.json", about | more | {"provenance": [*earlier, provenance(device) | own]})


def _write_json(path: Path, value: Any) -> None:
    checkpoint.replace(path, in_json(value))


@contextmanager
def _failures_kept(folder: Path) -> Iterator[None]:
    forget([folder / "failed"])
    try:
        yield
    except Exception:
        with suppress(InputError):  # where the disk is full, what failed for that reason is still what to hear of
            checkpoint.replace(folder / "failed", traceback.format_exc().encode(errors="backslashreplace"))
        raise
