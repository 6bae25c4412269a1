"""Deadline: the largest network that meets a measured time. Networks are built and timed, and nothing is estimated."""

from collections.abc import Callable
from typing import TypeVar

from sapwood.errors import InputError

T = TypeVar("T")
PARTS = 128  # of the work: how finely networks of different sizes are tried
Fits = Callable[[float], bool]  # whether the network with a share of the work is fast enough


def largest(fits: Fits, smallest: int, parts: int = PARTS) -> int:
    """How many of `parts` of the work the largest network has that is fast enough, by bisection; `smallest` or more."""
    low, high = smallest, parts - 1
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle / parts) else (low, middle - 1)
    return low


def climbed(fits: Fits, low: int, parts: int = PARTS) -> int:
    """The same, begun at `low` and going up one by one: what one wrong measurement has hidden is found again."""
    while low + 1 < parts and fits((low + 1) / parts):
        low += 1
    return low


def first_made(made: Callable[[float], T | None], low: int, smallest: int, parts: int = PARTS) -> T:
    """What `made` gives of the network with `low` parts, or of the next smaller one where it gives None.

    None is given where a last measurement finds a network too slow. InputError: not even the smallest is fast enough.
    """
    for part in range(low, smallest - 1, -1):
        if (found := made(part / parts)) is not None:
            return found
    raise InputError("the smallest network that can be built takes longer; allow more time")
