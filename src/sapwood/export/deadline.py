"""Deadline: the largest network that meets a measured time. Networks are built and timed, and nothing is estimated."""

from collections.abc import Callable
from typing import TypeVar

from sapwood.errors import InputError

T = TypeVar("T")
PARTS = 64  # of the work: how finely networks of different sizes are tried


def in_time(fits: Callable[[float], bool], made: Callable[[float], T | None], smallest: int, parts: int = PARTS) -> T:
    """The largest network of `smallest` / `parts` to (`parts` - 1) / `parts` of the work that is fast enough.

    `fits` says whether the network with a share of the work is; its answers are bisected. `made` gives the network
    itself, or None where a last measurement finds it too slow; the next smaller one is then made.
    InputError: not even the smallest is fast enough.
    """
    low, high = smallest, parts - 1
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle / parts) else (low, middle - 1)
    for part in range(low, smallest - 1, -1):
        if (found := made(part / parts)) is not None:
            return found
    raise InputError("the smallest network that can be built takes longer; allow more time")
