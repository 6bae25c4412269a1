"""Life: one life of a method on a task, from a start or from a saved state, watched."""

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import nn

from sapwood.currency import Masks
from sapwood.errors import InputError
from sapwood.shrinking.tracing.site import Site
from sapwood.training import checkpoint
from sapwood.training.loop import Moment
from sapwood.training.rebuild import Cut, Wanted
from sapwood.training.run import Run, start
from sapwood.training.task import Task

Method = Callable[..., Iterator[Moment]]


class Life:
    """One life of a method on a task, watched; `saves` are the states that could be saved, of one that began afresh."""

    def __init__(
        self, method: Method, task: Task, options: dict[str, Any], seed: int = 0, saved: dict[str, Any] | None = None
    ) -> None:
        self.run = start(task, seed, saved=saved)
        self.saves: list[bytes] = []
        self.run.between = self._save if saved is None else lambda run: None
        self.moments = method(self.run, **options)

    def finish(self) -> tuple[str, list[Moment]]:
        """A digest of everything at the end, and the moments on the way."""
        moments = list(self.moments)
        self.run.between = None
        return checkpoint.fingerprint(self.run.state()), moments

    def decided(self) -> tuple[str, list[Moment]]:
        """A digest of weights and masks alone at the end, and the moments on the way."""
        _, moments = self.finish()
        return decisions(self.run), moments

    def _save(self, run: Run) -> None:
        self.saves.append(checkpoint.encode(run.state()))


Make = Callable[..., Life]


class Stand(NamedTuple):
    """How masks, and the network, stand at a moment."""

    step: int
    rebuilt: bool  # so far
    masks: Masks
    dead: list[str]  # names of parameters of which a masked weight is not 0


class Seen(NamedTuple):
    """One rebuilding, watched."""

    before: nn.Module  # copies
    after: nn.Module
    sites: Sequence[Site]
    told: Cut
    state: dict[str, Any]  # of the run, just before
    left: dict[str, Any]  # and just after


class Watched:
    """A life to its end: what stood at every moment, what was rebuilt, what is left. Nothing holds the masks then."""

    def __init__(self, life: Life) -> None:
        self.run, self.saves = life.run, life.saves
        self.cuts, self.stands = list[Seen](), list[Stand]()
        self._shrink = life.run.shrink
        self.run.shrink = self._cut  # type: ignore[method-assign]
        self.moments = [self._noted(now) for now in life.moments]
        self.run.between = None
        self.end, self.decided = checkpoint.fingerprint(self.run.state()), decisions(self.run)
        masks = self.run.masks
        self.run.release()  # they are held by hooks as long as they are in force
        self.hooks = hooked(self.run.model)
        self.run.masks = masks

    def _noted(self, now: Moment) -> Moment:
        run, parameters = self.run, dict(self.run.model.named_parameters())
        held = {} if run.dense else run.masks
        dead = [name for name, keep in held.items() if bool((parameters[name][~keep] != 0).any())]
        masks = {name: keep.clone() for name, keep in run.masks.items()}
        self.stands.append(Stand(now.step, run.rebuilt, masks, dead))
        return now

    def _cut(self, keep: Wanted, sites: Sequence[Site]) -> Cut:
        before, state = deepcopy(self.run.model), saved_now(self.run)
        told = self._shrink(keep, sites)
        self.cuts.append(Seen(before, deepcopy(self.run.model), sites, told, state, saved_now(self.run)))
        return told


@lru_cache(maxsize=1)
def lived(trial: Make) -> Watched:
    """One life of the trial from its start to its end, the same for every law that only looks at it."""
    torch.manual_seed(17)  # what others have drawn before must not matter
    return Watched(trial())


def resumed(trial: Make, saved: dict[str, Any], when: str) -> tuple[str, list[Moment]]:
    """The end of a life that goes on from a saved state, and the moments on the way; it is a failure where none can."""
    torch.manual_seed(4711)  # what others have drawn before must not matter
    try:
        return trial(saved=saved).finish()
    except InputError as error:
        raise AssertionError(f"interrupted {when}, it cannot be resumed: {error}") from error


def decisions(run: Run) -> str:
    """A digest of weights and masks alone."""
    state = run.state()
    return checkpoint.fingerprint({"model": state["model"], "masks": state["masks"]})


def hooked(model: nn.Module) -> list[str]:
    """The names of the modules that have hooks."""
    return [n for n, m in model.named_modules() if m._forward_hooks or m._forward_pre_hooks or m._backward_hooks]


def saved_now(run: Run) -> dict[str, Any]:
    """The run's state, written and read again."""
    return checkpoint.decode(checkpoint.encode(run.state()))
