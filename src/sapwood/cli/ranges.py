"""Ranges: whether the methods take the values that --set gave, asked on a tiny network before any trial runs."""

import inspect
from collections.abc import Mapping, Sequence
from contextlib import closing

import torch

from sapwood.checks.tiny import tiny_task
from sapwood.cli.choosing import Pair
from sapwood.errors import InputError
from sapwood.methods import METHODS
from sapwood.training.run import start
from sapwood.trials.trial import Trial, Value


def refuse_out_of_range(trials: Sequence[Trial], changes: Sequence[Pair]) -> None:
    """InputError if a method does not begin with a changed value, and begins with its own default in its place."""
    asked = {(trial.method, tuple(sorted(trial.all_options().items()))): trial for trial in trials} if changes else {}
    for trial in asked.values():
        options = trial.all_options()
        said = _refusal(trial.method, options)
        for name, text in changes if said else ():
            if name in options and not _refusal(trial.method, options | {name: _default(trial.method, name)}):
                raise InputError(f"--set {name}={text}: {said}")


def _default(method: str, option: str) -> Value:
    value: Value = inspect.signature(METHODS[method]).parameters[option].default
    return value


def _refusal(method: str, options: Mapping[str, Value]) -> str:
    """What the method says at its beginning; "" if it begins."""
    with torch.random.fork_rng():
        try:
            moments = METHODS[method](start(tiny_task(), seed=0), **options)
            with closing(moments):  # type: ignore[type-var]
                next(iter(moments), None)
        except Exception as error:  # a tiny network may also lack what the method needs
            return str(error) or type(error).__name__
    return ""
