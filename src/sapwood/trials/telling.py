"""Telling: where a trial stands, for people, at the end of every epoch and within those that take long."""

import time
from collections.abc import Callable
from typing import NamedTuple

from sapwood.training.loop import Moment
from sapwood.training.run import Run
from sapwood.trials.length import Length, length
from sapwood.trials.trial import Trial

EVERY = 5.0  # seconds of an epoch from one word to the next


class Progress(NamedTuple):
    """Where a trial stands."""

    trial_id: str
    arm: str
    seed: int
    text: str
    done: float | None = None  # 0..1 of its epochs; None when nobody knows
    finished: bool = False
    error: str | None = None
    epochs: float = 0.0  # that it has made
    most: float | None = None  # epochs after which it ends, unless a rule ends it before; None when nobody knows


Tell = Callable[[Progress], None]


def ignore(progress: Progress) -> None:
    """Tells nobody."""


def say(trial: Trial, text: str, done: float | None = None, finished: bool = False) -> Progress:
    """What there is to say of a trial that is not training."""
    return Progress(trial.id, trial.arm, trial.seed, text, done, finished)


class Voice:
    """Tells how far a run of a trial is."""

    def __init__(self, trial: Trial, run: Run, tell: Tell) -> None:
        like = run.given["like"].epochs if "like" in run.given else None
        self.trial, self.run, self.tell = trial, run, tell
        self.length = length(trial.method, trial.all_options(), like)
        self.spoke = time.monotonic()

    def begin(self, resumed: int | None) -> None:
        """Say that it starts, or from which step it goes on."""
        self._say("starting" if resumed is None else f"resumed at step {resumed}", resumed or 0)

    def hear(self, moment: Moment) -> None:
        """Pass on a moment that ends an epoch, or comes some seconds after the last that was passed on."""
        if moment.ends_epoch:
            self._say(f"epoch {moment.epoch}, {self._reached(moment)}, {self._sparsity()}", moment.step)
        elif time.monotonic() - self.spoke >= EVERY:
            every = self.run.task.steps_per_epoch
            within = f"epoch {moment.epoch}, step {(moment.step - 1) % every + 1:,} of {every:,}"
            self._say(f"{within}, loss {moment.loss:.3g}, {self._sparsity()}", moment.step)

    def _say(self, text: str, step: int) -> None:
        self.spoke = time.monotonic()
        epochs = step / self.run.task.steps_per_epoch
        most = None if self.length is None or epochs > self.length.epochs else self.length.epochs
        alone = f", by itself: {self.run.alone}" if self.run.alone else ""
        self.tell(say(self.trial, f"{text}{alone}", _share(epochs, self.length))._replace(epochs=epochs, most=most))

    def _reached(self, moment: Moment) -> str:
        metric = self.run.task.goal.metric
        value = moment.metrics.get(f"valid_{metric}")
        return f"loss {moment.loss:.3g}" if value is None else f"valid {metric} {value:.3f}"

    def _sparsity(self) -> str:
        return f"sparsity {self.run.sparsity():.2f}"


def _share(epochs: float, length: Length | None) -> float | None:
    """Of the epochs that a trial takes; None where a rule may end it earlier, or more have been made."""
    known = length is not None and length.exact and epochs <= length.epochs
    return epochs / length.epochs if known and length is not None else None
