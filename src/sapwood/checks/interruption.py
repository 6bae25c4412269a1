"""The law of interruptions: a method that is stopped, and gone on from a saved state, ends with the same bits.

A run is interrupted after each of its steps: every life makes one step and leaves a state to the next, so whatever a
state lacks is lacking from then on. And once it lives on from the first state to the end, in case a method finds in
its next step what it has lost. A network that is rebuilt is exported anew in each life, which takes long: there a life
makes two steps, and the laws of rebuilding go on to the end. `every=True` goes on to the end from each state.
"""

from itertools import pairwise
from typing import Any

import torch

from sapwood.checks.law import demand
from sapwood.checks.life import Make, lived, resumed, saved_now
from sapwood.errors import InputError
from sapwood.training import checkpoint
from sapwood.training.loop import Moment
from sapwood.training.run import Run

State = dict[str, Any]
REMEDY = "another end; keep what the method computes and needs later in run.memory"


class _Stopped(BaseException):
    """A run was saved and stops; no kind of error that a method might catch."""


def gone_on_from(trial: Make, *, every: bool = False) -> None:
    """The law. `trial` makes a life, from the start or from a saved state."""
    saves, rebuilt = _saves(trial), bool(lived(trial).cuts)
    for saved in saves if every else saves[: 0 if rebuilt else 1]:
        _demand_the_same(trial, saved)
    if every or _same_in_short_lives(trial, saves[0], 2 if rebuilt else 1):
        return
    for saved in saves:
        _demand_the_same(trial, saved)  # which says the step
    raise AssertionError(f"interrupted again and again: {REMEDY}")


def _saves(trial: Make) -> list[State]:
    """What could be saved in an undisturbed life."""
    whole = lived(trial)
    saves = [checkpoint.decode(content) for content in whole.saves]
    # After the last step of a call of train the method may leave; after any other, saving must have been possible.
    due = {now.step for now, after in pairwise(whole.moments) if now.phase == after.phase}
    missed = sorted(due - {saved["step"] for saved in saves})
    demand(bool(saves) and not missed, f"run.between was not called after steps {missed}: does it train by `train`?")
    return saves


def _demand_the_same(trial: Make, saved: State) -> None:
    whole = lived(trial)
    when = f"after step {saved['step']}"
    end, rest = resumed(trial, saved, when)
    demand(end == whole.end, f"interrupted {when} of {whole.moments[-1].step}: {REMEDY}")
    tail = [now for now in whole.moments if now.step > saved["step"]]
    demand(rest == tail, f"interrupted {when}: other moments on the way")


def _same_in_short_lives(trial: Make, saved: State, steps: int) -> bool:
    """Whether lives of so many steps each have the moments of an undisturbed one, and its end."""
    whole, rest = lived(trial), list[Moment]()
    tail = [now for now in whole.moments if now.step > saved["step"]]
    try:
        for _ in range(len(tail) + 1):  # a run that loses its step would begin for ever
            moments, saved, end = _short_life(trial, saved, steps)
            rest += moments
            if end:
                return end == whole.end and rest == tail
    except InputError:
        pass
    return False


def _short_life(trial: Make, saved: State, steps: int) -> tuple[list[Moment], State, str]:
    """The moments of a life from a saved state to the one that it leaves; that one, and "" unless it was the end."""
    torch.manual_seed(4711)  # what others have drawn before must not matter
    life, kept, moments = trial(saved=saved), list[State](), list[Moment]()

    def stop(run: Run) -> None:
        if len(moments) >= steps:
            kept.append(saved_now(run))
            raise _Stopped

    life.run.between = stop
    try:
        for now in life.moments:
            moments.append(now)
    except _Stopped:
        return moments, kept[-1], ""
    life.run.between = None
    return moments, saved, checkpoint.fingerprint(life.run.state())
