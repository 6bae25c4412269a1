"""Progress: how far the trials are, drawn on a terminal and told in plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn

from sapwood.trials.execution import Progress as News
from sapwood.trials.trial import Trial
from sapwood.trials.turns import NotRun

EVERY = 10.0  # seconds between two plain lines about the same trial
ENOUGH = 0.05  # of one trial: before that, starting up took most of the time


class View(Protocol):
    """What shows progress: told of news while trials run, and of each trial's end."""

    def tell(self, news: News) -> None: ...

    def end(self, trial: Trial, error: str | None) -> None: ...


@contextmanager
def shown(total: int) -> Iterator[View]:
    """A view of `total` trials: bars when standard error is a terminal, lines otherwise."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Lines(total)
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(24), TaskProgressColumn(),
               TextColumn("{task.fields[left]}"))  # fmt: skip
    with Progress(*columns, console=console) as progress:
        yield Bars(total, progress)


class Pace:
    """How much is done, in trials, and how long the rest takes at the speed so far."""

    def __init__(self, total: int) -> None:
        self.total, self.began = total, time.monotonic()
        self.ended = 0
        self.found: dict[str, float] = {}  # what of each trial was done when it was first heard of
        self.done: dict[str, float] = {}  # and what is done now

    def hear(self, news: News) -> None:
        """Take in where a trial stands."""
        done = 1.0 if news.finished else news.done
        self.found.setdefault(news.trial_id, done or 0.0)
        if done is not None:
            self.done[news.trial_id] = done

    def end(self, trial: Trial) -> None:
        """A trial is over, well or badly."""
        self.ended += 1
        self.found.setdefault(trial.id, 0.0)
        self.done[trial.id] = 1.0

    def left(self) -> str:
        """The time left in words, from the work done in this session; "" while that is too little to go by."""
        work = sum(done - self.found[trial] for trial, done in self.done.items())
        if work < ENOUGH:
            return ""
        seconds = (time.monotonic() - self.began) * (self.total - sum(self.done.values())) / work
        return f"about {_duration(seconds)} left" if self.ended < self.total else ""


class Lines:
    """One line for a trial's start, every ten seconds or so while it runs, and its end."""

    def __init__(self, total: int, write: Callable[[str], None] | None = None) -> None:
        self.pace, self.write = Pace(total), write or _to_stderr
        self.told: dict[str, float] = {}

    def tell(self, news: News) -> None:
        """A line, unless there was one about this trial just now."""
        self.pace.hear(news)
        now = time.monotonic()
        if not news.finished and now - self.told.get(news.trial_id, -EVERY) >= EVERY:
            self.told[news.trial_id] = now
            self.write(f"{news.arm} seed {news.seed}: {news.text}")

    def end(self, trial: Trial, error: str | None) -> None:
        """A line with the count of what is over and the time left."""
        self.pace.end(trial)
        left = self.pace.left()
        self.write(f"[{self.pace.ended}/{self.pace.total}] {_ending(trial, error)}" + (f"; {left}" if left else ""))


class Bars:
    """A bar for everything with the time left, and one for each running trial."""

    def __init__(self, total: int, progress: Progress) -> None:
        self.pace, self.progress = Pace(total), progress
        self.all = progress.add_task(f"0 of {total} trials", total=total, left="")
        self.running: dict[str, TaskID] = {}

    def tell(self, news: News) -> None:
        """The trial's bar moves; it appears with the first news and goes at the end."""
        self.pace.hear(news)
        text = f"{news.arm} seed {news.seed}: {news.text}"
        if news.trial_id not in self.running and not news.finished:
            self.running[news.trial_id] = self.progress.add_task(text, total=None, left="")
        if news.trial_id in self.running:
            known = 1.0 if news.done is not None else None  # without a total the bar only shows that something moves
            self.progress.update(self.running[news.trial_id], description=text, total=known, completed=news.done or 0)
        self._show()

    def end(self, trial: Trial, error: str | None) -> None:
        """The trial's bar goes; what failed stays on the screen as a line."""
        self.pace.end(trial)
        if trial.id in self.running:
            self.progress.remove_task(self.running.pop(trial.id))
        if error is not None:
            self.progress.console.print(_ending(trial, error), markup=False, highlight=False)
        self._show()

    def _show(self) -> None:
        text = f"{self.pace.ended} of {self.pace.total} trials"
        done = sum(self.pace.done.values())
        self.progress.update(self.all, description=text, completed=done, left=self.pace.left())


def _ending(trial: Trial, error: str | None) -> str:
    said = "done" if error is None else f"{'not run' if isinstance(error, NotRun) else 'FAILED'}: {error}"
    return f"{trial.arm} seed {trial.seed} {said}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
