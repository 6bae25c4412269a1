"""Study: trials to run and what to make of their rows; one Python file per study, found by its name."""

import importlib.util
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from sapwood import disk
from sapwood.errors import InputError, unknown
from sapwood.methods import METHODS
from sapwood.study.claim import Claim
from sapwood.study.earlier import as_found, both
from sapwood.study.grid import Grid
from sapwood.study.table import Table
from sapwood.trials.execution import over
from sapwood.trials.trial import Trial

SCALES = ("smoke", "small", "paper")  # from "does it run at all" to what the claims are about
SPEAKS = "where the 95 % interval of its differences leaves out 0"
Standing = Literal["holds", "holds in part", "not supported", "contradicted", "cannot be told"]  # see `study.standing`


@dataclass(frozen=True)
class Figure:
    """A drawing of a study's rows; `draw` is also given the folder, where the trials' weights are."""

    title: str
    caption: str
    draw: Callable[[Table, Path], Any]  # -> matplotlib.figure.Figure


@dataclass(frozen=True)
class Tabled:
    """A table for people, made of a study's rows."""

    title: str
    caption: str
    build: Callable[[Table], Grid]


class Finding(NamedTuple):
    """What a paper claims or leaves open, what the rows say to it in a sentence, the numbers, and how it stands."""

    claim: str
    answer: str
    details: str = ""
    standing: Standing | None = None

    def __str__(self) -> str:
        return " ".join(part for part in (self.headline, self.answer, self.details) if part)

    @property
    def headline(self) -> str:
        """The claim, with how it stands before it."""
        return f"{self.standing.capitalize()}: {self.claim}" if self.standing else self.claim


@dataclass(frozen=True)
class Study:
    """What a study file's STUDY is."""

    name: str
    title: str
    paper: str
    trials: Callable[[str], Iterable[Trial]]
    claims: Sequence[Claim] = ()
    figures: Sequence[Figure] = ()
    tables: Sequence[Tabled] = ()
    summary: Callable[[Table], Sequence[str | Finding]] | None = None  # what was found, made of the rows
    verdict: Callable[[Table], Sequence[str]] | None = None  # at most five short lines for the top of the report
    control: str = ""  # the arm that all others are compared with, in a table and, without `verdict`, at the top
    codes: Mapping[str, str] = field(default_factory=dict)  # short names of arms and the like -> what they mean
    assumes: Callable[[Table], Iterable[str]] | None = None  # what its numbers rest on, beside what all studies' do
    ends: Callable[[Path], Iterable[str]] | None = None  # lines that `run` prints last; it may write into the folder
    extras: Callable[[Path, str], None] | None = None  # (folder, scale): what is made when all trials are over
    files: Sequence[str] = ()  # what `extras` writes into the folder; kept and restored with the trials
    more: Callable[[Path], Table] | None = None  # rows for the tables that no trial made, from those files
    speaks: str = SPEAKS  # when a comparison speaks for a claim or against it, of which `summary` says how it stands
    command: str = ""  # when it is not `sapwood run NAME --scale SCALE`
    notes: str = ""

    def at(self, scale: str) -> list[Trial]:
        """The trials of one scale; two arms that are the same trial are refused."""
        if scale not in SCALES:
            raise unknown("scale", scale, SCALES)
        trials = list(self.trials(scale))
        if not trials:
            raise InputError(f"study {self.name!r} has no trials at scale {scale!r}")
        seen: dict[str, Trial] = {}
        for trial in trials:
            if trial.id in seen:
                raise InputError(
                    f"study {self.name!r}: arms {seen[trial.id].arm!r} and {trial.arm!r} are the same trial with seed "
                    f"{trial.seed}; leave one out or give it other options"
                )
            seen[trial.id] = trial
        if self.control and self.control not in (arms := {trial.arm for trial in trials}):
            raise unknown(f"arm as control of study {self.name!r}:", self.control, arms)
        return trials

    def latest(self, folder: Path) -> list[Trial]:
        """The trials of the largest scale of which one is over in the results folder of this study."""
        for scale in reversed(SCALES):
            trials = self.at(scale)
            if any(over(folder / trial) for trial in both(trials)):
                return as_found(trials, folder)
        raise InputError(f"no trial of study {self.name!r} is finished in {folder}; run: sapwood run {self.name}")


def find(name_or_file: str) -> Study:
    """The study in studies/NAME.py or studies/NAME/__init__.py, or in the file given.

    Folders called studies are looked for under the current one, then where the package brings its own: inside it when
    it is installed from a wheel, beside its source in a checkout.
    """
    if name_or_file.endswith(".py"):
        path = Path(name_or_file)
        if os.path.isdir(path):
            raise InputError(f"{name_or_file!r} is a folder; give the study's file in it")
        if not os.path.isfile(path):
            raise InputError(f"there is no study file {name_or_file!r}; check the path, or give a study's name")
        return _load(path)
    files = _files()
    if name_or_file not in files:
        refuse_method(name_or_file)
        raise unknown("study", name_or_file, files)
    return _load(files[name_or_file])


def refuse_method(name: str) -> None:
    """Raise if a method's name was given where a study's is wanted."""
    if name in METHODS and name not in _files():
        raise InputError(
            f"{name!r} is a method, not a study; see sapwood list for the studies that run it, or call "
            f"METHODS[{name!r}](run, ...) in Python"
        )


def found() -> dict[str, Study]:
    """All studies that `find` knows by name."""
    return {name: _load(path) for name, path in sorted(_files().items())}


def _files() -> dict[str, Path]:
    """The study files by name; the current folder's win. Scripts that define no STUDY are none."""
    files: dict[str, Path] = {}
    for folder in (_ours(), Path.cwd() / "studies"):
        for path in (*folder.glob("[!_]*.py"), *folder.glob("[!_]*/__init__.py")):
            if path.is_file() and "\nSTUDY" in disk.read(path).decode(errors="replace"):
                files[_name(path)] = path
    return files


def _name(path: Path) -> str:
    """A study may be one file or, when it is long, a folder of them."""
    return path.parent.name if path.name == "__init__.py" else path.stem


def _ours(here: str = __file__) -> Path:
    """The studies that come with the package: a wheel has them inside it, a checkout beside its source."""
    package = Path(here).resolve().parents[1]
    inside = package / "studies"
    return inside if inside.is_dir() else package.parents[1] / "studies"


def _load(path: Path) -> Study:
    name = f"sapwood_study_{_name(path)}"
    inside = [str(path.parent)] if path.name == "__init__.py" else None
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=inside)
    assert spec is not None
    assert spec.loader is not None  # the name ends in .py
    module = importlib.util.module_from_spec(spec)
    for part in [each for each in sys.modules if each.startswith(f"{name}.")]:
        del sys.modules[part]  # of another file that went by this name
    sys.modules[name] = module  # dataclasses and pickling look it up there
    try:
        with _neighbours(path.parent if inside else path):
            spec.loader.exec_module(module)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"study file {path} cannot be loaded ({type(error).__name__}: {error}); mend it") from error
    study = getattr(module, "STUDY", None)
    if not isinstance(study, Study):
        raise InputError(f"study file {path} has no STUDY that is a sapwood.study.study.Study; define one")
    return study


@contextmanager
def _neighbours(path: Path) -> Iterator[None]:
    """Inside, what lies beside `path` can be imported, other studies too; `sys.path` is left as it was."""
    before = [*sys.path]
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        yield
    finally:
        sys.path[:] = before
