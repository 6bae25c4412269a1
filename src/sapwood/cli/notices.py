"""Notices: what `run` says of trials besides their results - kept, of other code, not run, left for another time."""

import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import typer

from sapwood.disk import there
from sapwood.trials.folder import read_trial
from sapwood.trials.own_code import changed, own_code
from sapwood.trials.provenance import commit
from sapwood.trials.trial import Trial
from sapwood.trials.turns import NotRun


def why(error: str, file: Path) -> str:
    """What became of a trial that is not finished."""
    if isinstance(error, NotRun):
        return f"was not run: {error}"
    return f"failed: see {file}" if there(file) else f"failed: {error}"


def say_what_is_kept(done: list[Trial], folder: Path) -> None:
    """Finished trials are not run again; say so, above all when the code is not the one that made them."""
    if not done:
        return
    now = commit() or "+"  # "+": not known, or with changes of which nobody knows when they were made
    lives = [(trial, read_trial(folder / trial.id)["provenance"]) for trial in done]
    other = [trial for trial, every in lives if "+" in now or any(life["commit"] != now for life in every)]
    more = f"; {len(other)} of them may be of other code: a new --results folder runs them afresh" if other else ""
    typer.echo(f"{len(done)} trials were finished before and are not run again{more}", err=True)
    edited = Counter(
        file for trial, every in lives for life in every[-1:] for file in changed(life.get("own", ""), own_code(trial))
    )
    for file, count in sorted(edited.items()):
        typer.echo(
            f"{file} has changed since {count} of them were run: a new --results folder runs them afresh", err=True
        )


def say_what_is_left(others: list[Trial]) -> None:
    """After --only: that the study has more trials, and how to run them."""
    if others:
        are = "other trial of the study is" if len(others) == 1 else "other trials of the study are"
        command = shlex.join(["sapwood", *_without_only(sys.argv[1:])])
        print(f"{len(others)} {are} not finished; to run them too: {command}")


def _without_only(words: Iterable[str]) -> Iterator[str]:
    """The words of a command without --only and what follows it."""
    every = iter(words)
    for word in every:
        if word == "--only":
            next(every, None)
        elif not word.startswith("--only="):
            yield word
