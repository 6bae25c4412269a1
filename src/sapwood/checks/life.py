"""Life: one life of a method on a task, from a start or from a saved state, watched."""

from collections.abc import Callable, Iterator
from typing import Any

import torch

from sapwood.errors import InputError
from sapwood.training import checkpoint
from sapwood.training.loop import Moment
from sapwood.training.run import start
from sapwood.training.task import Task

Method = Callable[..., Iterator[Moment]]


class Life:
    """One life of a method on a task, watched."""

    def __init__(
        self, method: Method, task: Task, options: dict[str, Any], seed: int = 0, saved: dict[str, Any] | None = None
    ) -> None:
        self.run = start(task, seed, saved=saved)
        self.saves: list[bytes] = []
        self.run.between = lambda run: self.saves.append(checkpoint.encode(run.state()))
        self.moments = method(self.run, **options)

    def finish(self) -> tuple[str, list[Moment]]:
        """A digest of everything at the end, and the moments on the way."""
        moments = list(self.moments)
        self.run.between = None
        return checkpoint.fingerprint(self.run.state()), moments

    def decided(self) -> tuple[str, list[Moment]]:
        """A digest of weights and masks alone at the end, and the moments on the way."""
        _, moments = self.finish()
        state = self.run.state()
        return checkpoint.fingerprint({"model": state["model"], "masks": state["masks"]}), moments


Make = Callable[..., Life]


def resumed(trial: Make, saved: dict[str, Any], when: str) -> tuple[str, list[Moment]]:
    """The end of a life that goes on from a saved state, and the moments on the way; it is a failure where none can."""
    torch.manual_seed(4711)  # what others have drawn before must not matter
    try:
        return trial(saved=saved).finish()
    except InputError as error:
        raise AssertionError(f"interrupted {when}, it cannot be resumed: {error}") from error
