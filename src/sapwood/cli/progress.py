"""Progress: how far the trials are, drawn on a terminal and told in plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn

from sapwood.trials.telling import Progress as News
from sapwood.trials.trial import Trial
from sapwood.trials.turns import NotRun

EVERY, RARER = 10.0, 0.05  # between two plain lines about one trial: seconds, or this share of its time, if longer
ENOUGH = 0.05  # of one trial: before that, starting up took most of the time
SEEN = 10.0  # seconds of training that say something, however little of a trial they are


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


class Seen(NamedTuple):
    """A trial as it was first heard of by this command, and as it is now."""

    began: float
    at: float
    first: News
    now: News

    @property
    def seconds(self) -> float:
        return self.at - self.began

    @property
    def work(self) -> float:
        """The share of it that was done meanwhile; 0 where nobody knows."""
        return _share(self.now) - _share(self.first) if _share(self.now) else 0.0

    @property
    def told(self) -> bool:
        """Whether that is enough to go by."""
        return self.work >= ENOUGH or (self.work > 0 and self.seconds >= SEEN)

    def standing(self, news: News) -> bool:
        """Whether nothing was done of it since it was first heard of."""
        return (news.done or 0.0, news.epochs) == (self.first.done or 0.0, self.first.epochs)


class Pace:
    """How much is done, in trials, and how long the rest takes at the speed so far."""

    def __init__(self, total: int) -> None:
        self.total, self.began = total, time.monotonic()
        self.ended = self.made = self.most = 0  # trials that are over, that ended well, that ran at once
        self.running: dict[str, Seen] = {}
        self.found: dict[str, float] = {}  # what of each trial was done when it was first heard of
        self.done: dict[str, float] = {}  # and what is done now

    def hear(self, news: News) -> None:
        """Take in where a trial stands."""
        done = 1.0 if news.finished else news.done
        self.found.setdefault(news.trial_id, done or 0.0)
        if done is not None:
            self.done[news.trial_id] = done
        now = time.monotonic()
        seen = self.running.get(news.trial_id)
        if seen is None or seen.standing(news):  # it waited for others, or for its first step
            seen = Seen(now, now, news, news)
        self.running[news.trial_id] = seen._replace(at=now, now=news)
        self.most = max(self.most, len(self.running))

    def end(self, trial: Trial, *, well: bool = True) -> None:
        """A trial is over; one that failed says nothing about the time that others take."""
        self.ended, self.made = self.ended + 1, self.made + well
        self.running.pop(trial.id, None)
        self.found[trial.id] = self.found.get(trial.id, 0.0) if well else 1.0
        self.done[trial.id] = 1.0

    def left(self) -> str:
        """The time left for all in words, from what this command has done; "" while that is too little to go by."""
        if self.ended == self.total:
            return ""
        if not self.made:
            return self._first()
        work = sum(done - self.found[trial] for trial, done in self.done.items())
        if work < ENOUGH:
            return ""
        seconds = (time.monotonic() - self.began) * (self.total - sum(self.done.values())) / work
        return f"about {duration(seconds)} left"

    def of(self, trial_id: str) -> str:
        """The time left for a trial that is running; where a rule ends it, how long an epoch takes."""
        seen = self.running[trial_id]
        if seen.now.done is not None:
            return f"about {duration(seen.seconds * (1 - seen.now.done) / seen.work)} left" if seen.told else ""
        made = seen.now.epochs - seen.first.epochs
        if not made or seen.seconds < SEEN:
            return ""
        each, most = seen.seconds / made, seen.now.most
        at_most = "" if most is None else f", at most {duration(each * (most - seen.now.epochs))} left"
        return f"about {duration(each) if each >= 2 else f'{each:.2g} s'} an epoch{at_most}"

    def _first(self) -> str:
        """Before any trial is made: as if all took as long as those that have begun."""
        known = [seen for seen in self.running.values() if seen.told]
        if not known or self.total == 1:
            return ""
        each = sum(seen.seconds for seen in known) / sum(seen.work for seen in known)
        waiting = self.total - self.ended - sum(_share(seen.now) for seen in self.running.values())
        seconds = each * waiting / min(self.most, self.total - self.ended)
        sure = "about" if all(seen.now.done is not None for seen in known) else "at most"
        return f"{sure} {duration(seconds)} left for all {self.total} trials if they are alike"


class Lines:
    """One line for a trial's start, every ten seconds or so while it runs, more seldom in a long one, and its end."""

    def __init__(self, total: int, write: Callable[[str], None] | None = None) -> None:
        self.pace, self.write = Pace(total), write or _to_stderr
        self.told: dict[str, float] = {}

    def tell(self, news: News) -> None:
        """A line with the time left, unless there was one about this trial just now."""
        self.pace.hear(news)
        now = time.monotonic()
        often = max(EVERY, RARER * self.pace.running[news.trial_id].seconds)
        if not news.finished and now - self.told.get(news.trial_id, -often) >= often:
            self.told[news.trial_id] = now
            mine, left = self.pace.of(news.trial_id), self.pace.left()
            times = ", ".join(each for each in (f"{mine} of this trial" if mine and left else mine, left) if each)
            self.write(f"{news.arm} seed {news.seed}: {news.text}" + (f"; {times}" if times else ""))

    def end(self, trial: Trial, error: str | None) -> None:
        """A line with the count of what is over and the time left."""
        self.pace.end(trial, well=error is None)
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
            left = self.pace.of(news.trial_id)
            self.progress.update(
                self.running[news.trial_id], description=text, total=known, completed=news.done or 0, left=left
            )
        self._show()

    def end(self, trial: Trial, error: str | None) -> None:
        """The trial's bar goes; what failed stays on the screen as a line."""
        self.pace.end(trial, well=error is None)
        if trial.id in self.running:
            self.progress.remove_task(self.running.pop(trial.id))
        if error is not None:
            self.progress.console.print(_ending(trial, error), markup=False, highlight=False)
        self._show()

    def _show(self) -> None:
        text = f"{self.pace.ended} of {self.pace.total} trials"
        done = sum(self.pace.done.values())
        self.progress.update(self.all, description=text, completed=done, left=self.pace.left())


def _share(news: News) -> float:
    """How much of a trial is done, at least, where a rule may end it earlier."""
    return news.done or (news.epochs / news.most if news.most else 0.0)


def _ending(trial: Trial, error: str | None) -> str:
    said = "done" if error is None else f"{'not run' if isinstance(error, NotRun) else 'FAILED'}: {error}"
    return f"{trial.arm} seed {trial.seed} {said}"


def duration(seconds: float) -> str:
    """Seconds in words, roughly."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
