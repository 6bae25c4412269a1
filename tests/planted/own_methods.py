"""Laws of methods that a study's file brings along, and bugs planted in them: every process knows such a method."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from planted.mutant import bugs, instead

from sapwood.checks import Laws
from sapwood.checks.law import demand
from sapwood.cli import pools, running
from sapwood.errors import InputError
from sapwood.methods import METHODS
from sapwood.study import study
from sapwood.study.study import find
from sapwood.trials.trial import Trial

METHOD = """
from sapwood import train

def borrowed(run, *, epochs=1):
    yield from train(run, epochs=epochs)
"""
STUDY = """
from the_neighbour import borrowed

from sapwood import METHODS
from sapwood.study.study import Study
from sapwood.trials.trial import Trial

METHODS["borrowed"] = borrowed
STUDY = Study("own", "Own", "", lambda scale: [Trial.make("borrowed", "mlp_digits", seed) for seed in (0, 1)])
"""


def own_laws() -> Laws:
    """What a study's file may do, and who knows of it."""
    return {
        "own methods: a worker reads the study's file before its first trial": _worker_reads,
        "own methods: several processes are given that job": _job_of_several,
        "own methods: a study's file imports what lies beside it": _neighbour,
        "own methods: the path of modules is as before, also after an error": _path_as_before,
    }


@contextmanager
def _files() -> Iterator[str]:
    """A study's file and its neighbour; afterwards nobody has heard of them."""
    with TemporaryDirectory() as folder:
        (Path(folder) / "the_neighbour.py").write_text(METHOD)
        (file := Path(folder) / "own_study.py").write_text(STUDY)
        try:
            yield str(file)
        finally:
            METHODS.pop("borrowed", None)
            sys.modules.pop("the_neighbour", None)


def _forgotten(file: str) -> Trial:
    """The study's first trial, in a process that has not read the file."""
    trial = find(file).at("smoke")[0]
    del METHODS["borrowed"]
    return trial


def _know(trial: Trial, tell: Callable[[object], None]) -> None:
    demand(trial.method in METHODS, f"method {trial.method!r} is not known")


def _worker_reads() -> None:
    with _files() as file:
        trial = _forgotten(file)
        running._knowing(file, _know, trial, print)


def _job_of_several() -> None:
    with _files() as file, instead(running, "run_into", lambda folder, trial, tell, device: _know(trial, tell))():
        trial = _forgotten(file)
        with instead(pools, "processes", lambda workers, ready: _in_turn)():
            order = running.Order(file, "smoke", (), (), None, 2, None, None, "cpu", False, Path(), None)
            running._run([trial, trial], Path(), pools.Asked(None, 2), order)


def _in_turn(job: Callable, items: list, tell: Callable) -> Iterator[tuple]:
    for item in items:
        job(item, tell)
        yield item, None


def _neighbour() -> None:
    with _files() as file:
        try:
            trials = find(file).at("smoke")
        except InputError as error:
            raise AssertionError(f"refused: {error}") from error
        demand([trial.method for trial in trials] == ["borrowed"] * 2, "other trials than the file's")


def _path_as_before() -> None:
    before = [*sys.path]
    with _files() as file:
        for text in (STUDY, STUDY + "\n1 / 0\n"):
            Path(file).write_text(text)
            with suppress(InputError):
                find(file)
            after, sys.path[:] = [*sys.path], before
            demand(after == before, f"sys.path has {len(after) - len(before)} more folders")


def _stays(path: Path) -> nullcontext[None]:
    sys.path.insert(0, str(path.parent.resolve()))
    return nullcontext()


MUTANTS = bugs(
    "own methods",
    own_laws,
    {
        "a worker reads the study's file before its first trial": {
            "the worker runs the trial at once": instead(running, "_knowing", lambda study, job, *told: job(*told)),
            "the worker reads no file": instead(running, "_read", lambda name: None),
        },
        "several processes are given that job": {
            "workers run trials as the parent does": instead(running, "_knowing", lambda study, job, *told: job(*told)),
        },
        "a study's file imports what lies beside it": {
            "the file's folder is not looked in": instead(study, "_neighbours", lambda path: nullcontext()),
        },
        "the path of modules is as before, also after an error": {
            "the file's folder stays on the path": instead(study, "_neighbours", _stays),
        },
    },
)
