"""Stopping: when training has gone on long enough; rules over a dict of numbers, and filters that end a generator.

A rule is asked once per epoch with the watched value. What it has seen is in `state`, a dict that starts empty and
that the caller keeps where checkpoints look: after a restart the rule goes on as if nothing had happened.
"""

import math
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import TypeVar

from sapwood.errors import InputError, Names, picked

M = TypeVar("M")
State = dict[str, float]  # numbers only, inf among them
Rule = Callable[[State, float], bool]  # (state, value) -> whether to stop now; `state` is updated in place


# Rules


def spiked(state: State, value: float, *, tolerance: float = 0.1, times: int = 3) -> bool:
    """Whether the loss has risen `times` times while above (1 + tolerance) times its minimum.

    v < best: best <- v. Else v > (1 + tolerance) best and v > the value before: one more rise. Else
    v < (1 + tolerance) best: back to no rise. A new minimum, or a fall that stays above, leaves the rises counted.
    *Paper:* Ganguli & Chong 2024, "Activation-Based Pruning of Neural Networks", Algorithms 17(1):48.
    *Differs:* this is the rule of the authors' code; the text says "three consecutive times" (`consecutive`).
    """
    _refuse_bad_limits(tolerance, times)
    value = _loss(value)
    best, rises = state.get("best", math.inf), state.get("rises", 0)
    limit = (1 + tolerance) * best
    if value < best:
        best = value
    elif value > limit and value > state.get("previous", 0.0):
        rises += 1
    elif value < limit:
        rises = 0
    state.update(best=best, rises=rises, previous=value)
    return rises >= times


def consecutive(state: State, value: float, tolerance: float = 0.1, times: int = 3) -> bool:
    """Whether the last `times` values in a row were above (1 + tolerance) times the minimum before them.

    *Paper:* Ganguli & Chong 2024, as its text reads; its code does what `spiked` does. *Differs:* nothing known.
    """
    _refuse_bad_limits(tolerance, times)
    value = _loss(value)
    best = state.get("best", math.inf)
    above = state.get("above", 0) + 1 if value > (1 + tolerance) * best else 0
    state.update(best=min(best, value), above=above)
    return above >= times


def stale(state: State, value: float, *, patience: int, higher_is_better: bool = False, least: float = 0.0) -> bool:
    """Whether `patience` values in a row were not better than the best one by more than `least`."""
    if patience < 1:
        raise InputError(f"patience is {patience}; give at least 1 value to wait for")
    if not 0 <= least < math.inf:
        raise InputError(f"least is {least}; give the smallest improvement that counts, at least 0")
    value = _number(value)
    best = state.get("best", value)
    gain = value - best if higher_is_better else best - value
    if "best" not in state or gain > least:
        state.update(best=value, waited=0)
    else:
        state["waited"] += 1
    return state["waited"] >= patience


def never(state: State, value: float) -> bool:
    """False: training ends where its length says. Still refuses NaN, as all rules do."""
    _number(value)
    return False


RULES: dict[str, Rule] = Names(
    "stopping rule",
    {
        "spikes": spiked,
        "consecutive": consecutive,
        "patience": partial(stale, patience=5),
        "none": never,
    },
)


def named(name: str) -> Rule:
    """The rule called `name` in RULES."""
    return picked("stopping rule", name, RULES)


# Filters


def at_most(n: int, moments: Iterable[M]) -> Generator[M, None, None]:
    """The first `n` moments; then the source is closed, and the step after the n-th is never made."""
    if n < 0:
        raise InputError(f"n is {n}; give the number of moments to let through, at least 0")
    source = iter(moments)
    return _closing(source, islice(source, n))


def until(stop: Callable[[M], bool], moments: Iterable[M]) -> Generator[M, None, None]:
    """The moments up to and including the first one that `stop` is true of; then the source is closed.

    `stop` is asked once per moment, before the moment is handed on.
    """
    source = iter(moments)
    return _closing(source, _through_first(stop, source))


def _through_first(stop: Callable[[M], bool], source: Iterator[M]) -> Iterator[M]:
    for moment in source:
        last = stop(moment)
        yield moment
        if last:
            return


def _closing(source: Iterator[M], filtered: Iterator[M]) -> Generator[M, None, None]:
    """Closes `source` however the reading ends: what it holds, such as hooks, would else stay until collection."""
    try:
        yield from filtered
    finally:
        if isinstance(source, Generator):
            source.close()


def _number(value: float) -> float:
    if math.isnan(value):
        raise InputError("the watched value is NaN; training has diverged: lower the learning rate, or watch another")
    return float(value)  # a tensor would not survive a checkpoint


def _loss(value: float) -> float:
    if value < 0:
        raise InputError(
            f"the watched value is {value}; a limit relative to the minimum needs values of at least 0: use 'patience'"
        )
    return _number(value)


def _refuse_bad_limits(tolerance: float, times: int) -> None:
    if not 0 <= tolerance < math.inf:
        raise InputError(f"tolerance is {tolerance}; give a fraction of the minimum, at least 0")
    if times < 1:
        raise InputError(f"times is {times}; give at least 1")
