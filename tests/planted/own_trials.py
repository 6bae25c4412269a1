"""Laws of trials made of one's own things, and bugs planted in them: starts from files, what cannot be, what failed."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import torch
from planted.mutant import bugs, instead

from sapwood.checks import Laws
from sapwood.checks.law import demand
from sapwood.cli import running
from sapwood.errors import InputError
from sapwood.methods import METHODS
from sapwood.models.mlp import mlp
from sapwood.trials import elsewhere, own_code, sense, turns
from sapwood.trials.elsewhere import Elsewhere
from sapwood.trials.folder import Busy
from sapwood.trials.pool import serial
from sapwood.trials.trial import Trial
from sapwood.trials.turns import Turns

PLAIN = Trial.make("dense", "mlp_digits", 0, "child")
PARENT = Trial.make("dense", "mlp_digits", 1, "parent")


def laws() -> Laws:
    """What is known of a trial before it runs."""
    return {
        "own trials: what a file holds is what the trial begins with": _content,
        "own trials: a file that has changed since is refused": _unchanged,
        "own trials: what cannot be meant is refused when a trial is made": _senseless,
        "own trials: what goes on from a failed one is not begun": _not_begun,
        "own trials: what is in use is done after the others": _in_use,
        "own trials: an edited file is named": _edited,
    }


def _file(folder: str, value: float) -> Path:
    path = Path(folder) / "w.pt"
    torch.save({"weight": torch.tensor([value])}, path)
    return path


def _content() -> None:
    with TemporaryDirectory() as folder:
        one = PLAIN.after(start=_file(folder, 1.0))
        path = _file(folder, 22.0)
        other = PLAIN.after(start=path)
        demand(one.id != other.id, "other weights under the same name are taken for the same start")
        moved = PLAIN.after(start=path.rename(Path(folder) / "moved.pt"))
        demand(moved.id == other.id, "a file that was moved is taken for another start")


def _unchanged() -> None:
    with TemporaryDirectory() as folder:
        start = dict(PLAIN.after(start=_file(folder, 1.0)).uses)["start"]
        assert isinstance(start, Elsewhere)
        _file(folder, 22.0)
        _refused(lambda: start.given(lambda: mlp([2, 2]), "cpu"), "has changed since", "the file is read as it is now")


def _refused(call: Callable[[], object], words: str, otherwise: str) -> None:
    try:
        call()
    except InputError as error:
        demand(words in str(error), f"{otherwise}: {error}")
    else:
        demand(False, otherwise)


def _senseless() -> None:
    make = partial(Trial.make, "gradual_magnitude", "mlp_digits", 0)
    _refused(lambda: make(sparsity=95.0), "0.95 for 95 %", "a sparsity of 95 is taken")
    _refused(lambda: make(criterion="activity"), "global_activation", "a criterion is taken that needs samples")
    make(criterion="random_", sparsity=0.0)
    Trial.make("global_activation", "mlp_digits", 0, criterion="activity")


def _not_begun() -> None:
    begun: list[str] = []

    def job(trial: Trial, tell: object) -> None:
        begun.append(trial.arm)
        raise RuntimeError("it broke")

    lost: dict[str, str] = {}
    ready = partial(running._ready, folder=Path("nowhere"), lost=lost)
    for trial, _ in serial(job, [PARENT, PLAIN.after(start=PARENT)], print, ready=ready):
        lost[trial.id] = "failed"
    demand(begun == ["parent"], f"begun were {begun}")


def _in_use() -> None:
    done: list[int] = []
    times = [1, 1]

    def job(item: int, tell: object) -> None:
        if item == 1 and times:
            times.pop()
            raise Busy("another process is at it")
        done.append(item)

    with instead(turns, "PAUSE", 0.0)():
        said = list(serial(job, [1, 2, 3], print))
    demand(done == [2, 3, 1], f"done were {done}")
    demand(said == [(2, None), (3, None), (1, None)], f"told was {said}")


def _edited() -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a_method_of_mine.py"
        path.write_text("def mine(run, *, epochs: int = 1):\n    yield\n")
        sys.path.insert(0, folder)
        try:
            METHODS["mine"] = __import__("a_method_of_mine").mine
            trial = Trial.make("mine", "mlp_digits", 0)
            before = own_code.own_code(trial)
            path.write_text(path.read_text() + "\n")
            demand(own_code.changed(before, own_code.own_code(trial)) == [path.name], "nobody is told of the change")
            demand(own_code.changed(before, before) == [], "what is as it was is said to have changed")
        finally:
            sys.path.remove(folder)
            sys.modules.pop("a_method_of_mine", None)
            METHODS.pop("mine", None)


MUTANTS = bugs(
    "own trials",
    laws,
    {
        "what a file holds is what the trial begins with": {
            "its name tells it": instead(Elsewhere, "id", property(lambda self: f"file:{self.path.name}")),
            "nothing tells it": instead(Elsewhere, "id", "file"),
            "its path tells it": instead(Elsewhere, "id", property(lambda self: f"{self.digest} {self.path}")),
        },
        "a file that has changed since is refused": {
            "the digest of its length": instead(
                elsewhere, "sha256", lambda content: SimpleNamespace(hexdigest=lambda: str(len(content)))
            ),
        },
        "what cannot be meant is refused when a trial is made": {
            "percent are taken": instead(sense, "SHARES", ()),
            "every method is taken to gather evidence": instead(sense, "METHODS_BY_WEIGHTS", {}),
            "every method is one's own": instead(sense, "_ours", lambda method: False),
        },
        "what goes on from a failed one is not begun": {
            "failures are forgotten": instead(running, "_ready", lambda trial, folder, lost: not trial.others),
            "all are ready": instead(running, "_ready", lambda trial, folder, lost: True),
        },
        "what is in use is done after the others": {
            "it is tried again at once": instead(Turns, "again", lambda self, item: self.waiting.insert(0, item)),
            "it is left out": instead(Turns, "again", lambda self, item: None),
        },
        "an edited file is named": {
            "methods are not looked at": instead(own_code, "_things", lambda trial: iter(())),
            "digests are not compared": instead(own_code, "changed", lambda before, now: []),
        },
    },
)
