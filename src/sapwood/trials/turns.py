"""Turns: which item a pool takes up next - one that is ready, none that cannot be, one that was in use once more."""

import time
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T")
Ready = Callable[[T], bool | str]  # True: take it up. False: not yet. Words: it cannot be taken up, because of that

PAUSE, NAP = 1.0, 0.05  # seconds between two looks at what another process has in use; between two of the clock


class InUse(str):
    """What a job says of an item that another process is at."""

    __slots__ = ()


class NotRun(str):
    """Why an item was never taken up, which is no failure of its own."""

    __slots__ = ()


def always(item: object) -> bool:
    """Every item is ready."""
    return True


class Turns(Generic[T]):
    """The items that are waiting, in order, and those that were found in use, which come after them."""

    def __init__(self, items: Iterable[T], ready: Ready[T] = always) -> None:
        self.waiting, self.later, self._ready = list(items), list[T](), ready
        self._looked = 0.0  # when the last look at what is in use was

    @property
    def left(self) -> int:
        """How many items are to come."""
        return len(self.waiting) + len(self.later)

    def again(self, item: T) -> None:
        """The item was in use; it comes again when nothing else is to do."""
        self.later.append(item)
        self._looked = time.monotonic()

    def take(self, *, idle: bool) -> tuple[T, str | None] | None:
        """An item, and why it cannot be taken up, if so; None when nothing can be begun now.

        Should nothing be ready and nothing at work (`idle`), the next item is taken all the same: it can say why not.
        """
        for at, item in enumerate(self.waiting):
            said = self._ready(item)
            if said:
                return self.waiting.pop(at), said if isinstance(said, str) else None
        if self.later:
            return (self.later.pop(0), None) if time.monotonic() - self._looked >= PAUSE else None
        return (self.waiting.pop(0), None) if idle and self.waiting else None

    def next(self) -> tuple[T, str | None]:
        """What `take` gives to who has nothing else at work, and waits for it."""
        while (found := self.take(idle=True)) is None:
            time.sleep(NAP)
        return found
