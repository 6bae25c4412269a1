"""Quiet: which numbers are 0 by themselves once all that makes and holds their unit is 0.

A sum over units reads them without a weight that could be 0 in their place. So a unit may go from under a sum only if
what arrives there is 0 without it, as behind a ReLU but not behind a sigmoid.
"""

from typing import Any

from torch import Tensor


class Quiet:
    """What is known of values, told apart by which objects they are. Views share the numbers of their base."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Any, bool]] = {}  # the value too, so that no other gets its number
        self._base: dict[int, int] = {}
        self.sums: list[tuple[Tensor, str]] = []  # ids that an operator adds up, and its name
        self.doubts: list[tuple[Tensor, str]] = []  # ids without which a wrong network might run; and so by what
        self._loud: set[int] = set()  # bases that something else than 0 was written into

    def note(self, value: Any, zero: bool) -> None:
        """Whether a value is 0 without its units."""
        self._known[id(value)] = value, zero

    def zero(self, value: Any, *, otherwise: bool) -> bool:
        """Whether a value is 0 without its units; `otherwise` where nothing was noted of it."""
        return self._known.get(id(value), (value, otherwise))[1] and self._of(value) not in self._loud

    def view(self, value: Any, of: Any) -> None:
        """A value shares the numbers of another one."""
        self._base[id(value)] = self._of(of)

    def viewed(self, value: Any) -> bool:
        """Whether it is a view of another one."""
        return self._of(value) != id(value)

    def written(self, value: Any) -> None:
        """Something else than 0 was written into a value, and so into what it is a view of."""
        self._loud.add(self._of(value))

    def _of(self, value: Any) -> int:
        return self._base.get(id(value), id(value))
