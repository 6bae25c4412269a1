"""Target: how small a network is to become, as a share or a number of its MACs, parameters, bytes or milliseconds."""

import math
from typing import NamedTuple

from sapwood.errors import InputError

KINDS = ("macs", "parameters", "bytes", "ms")
COUNTED = {"macs": "multiply-adds", "parameters": "parameters", "bytes": "bytes"}
PERCENT = 100  # up to which a number may be meant in percent


class Target(NamedTuple):
    """One of `KINDS`, and the share (below 1) or the number of it that may be left."""

    kind: str
    value: float

    @property
    def is_share(self) -> bool:
        """Whether `value` is a share of what the network has."""
        return self.value < 1

    def limit(self, whole: float) -> float:
        """How much may be left of `whole`; InputError if the network is that small already."""
        if not self.is_share and self.value >= whole:
            raise InputError(
                f"{self} asks for no less than there is: the network has {whole:,.6g}; give a smaller number, or a "
                "share below 1"
            )
        return self.value * whole if self.is_share else self.value

    def __str__(self) -> str:
        said = f"{self.kind}={self.value:g}"
        if self.kind in COUNTED and 1 < self.value <= PERCENT:
            said += f" (a number of {COUNTED[self.kind]}, as it is above 1; half of them is {self.kind}=0.5)"
        return said


def target_of(**given: float | None) -> Target:
    """The one target among `given`, {kind: value or None}; InputError unless exactly one has a usable value."""
    found = [(kind, value) for kind, value in given.items() if value is not None]
    if not found:
        ways = ", ".join(f"{kind}=" for kind in KINDS)
        raise InputError(f"no target was given; give one of {ways} as a share below 1 or as a number")
    if len(found) > 1:
        both = " and ".join(f"{kind}={value!r}" for kind, value in found)
        raise InputError(f"{both} are {len(found)} targets; give one of them")
    return Target(*_usable(*found[0]))


def _usable(kind: str, value: float) -> tuple[str, float]:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value <= 0 or value == 1:
        raise InputError(
            f"{kind} is {value!r}; give the share of it that may be left, above 0 and below 1, or a number above 1"
        )
    return kind, float(value)
