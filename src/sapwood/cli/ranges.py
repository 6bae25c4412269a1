"""Ranges: whether the methods take the values that --set gave, asked on a tiny network before any trial runs."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing

import torch

from sapwood.checks.tiny import tiny_task
from sapwood.cli.choosing import Pair
from sapwood.errors import InputError
from sapwood.methods import METHODS
from sapwood.tasks import TASKS
from sapwood.training.run import start
from sapwood.training.task import Task
from sapwood.trials.trial import Trial, Value


def refuse_out_of_range(trials: Sequence[Trial], changes: Sequence[Pair]) -> None:
    """InputError if a method does not begin with a changed value, and begins with its own default in its place.

    A tiny network may lack what a method needs, so the trial's own task must be refused in the same words.
    """
    asked = {(trial.method, tuple(sorted(trial.all_options().items()))): trial for trial in trials} if changes else {}
    for trial in asked.values():
        options = trial.all_options()
        said = _refusal(tiny_task, trial.method, options)
        for name, text in changes if said else ():
            default = options | {name: _default(trial.method, name)} if name in options else options
            if not _refusal(tiny_task, trial.method, default) and said == _refusal(
                TASKS[trial.task], trial.method, options
            ):
                raise InputError(f"--set {name}={text}: {said}")


def _default(method: str, option: str) -> Value:
    value: Value = inspect.signature(METHODS[method]).parameters[option].default
    return value


def _refusal(task: Callable[[], Task], method: str, options: Mapping[str, Value]) -> str:
    """What the method says at its beginning; "" if it begins."""
    with torch.random.fork_rng():
        try:
            moments = METHODS[method](start(task(), seed=0), **options)
            with closing(moments):  # type: ignore[type-var]
                next(iter(moments), None)
        except Exception as error:
            return str(error) or type(error).__name__
    return ""
