"""Goal: the metric that a task is judged by, and whether it should go up or down."""

import math
from collections.abc import Mapping
from typing import NamedTuple

from sapwood.errors import InputError

UP, DOWN = "up", "down"


class Goal(NamedTuple):
    """A metric's name, "up" if more of it is better or "down" if less is, and the unit for people."""

    metric: str
    direction: str
    unit: str = "fraction"

    @property
    def up(self) -> bool:
        """Whether more is better."""
        return self.direction == UP

    def better(self, value: float, than: float) -> bool:
        """Whether `value` is strictly better than `than`."""
        return value > than if self.up else value < than

    def reached(self, value: float, mark: float) -> bool:
        """Whether `value` is as good as `mark`, or better."""
        return value >= mark if self.up else value <= mark

    def of(self, metrics: Mapping[str, float], split: str) -> float:
        """The goal's value on a split ("train", "valid") among an epoch's metrics; InputError if it is not there."""
        try:
            return metrics[f"{split}_{self.metric}"]
        except KeyError:
            raise InputError(
                f"the task's goal is {self.metric!r}, but its metrics are {', '.join(metrics) or 'none'}; "
                'give the task goal=(one of its metrics, "up" or "down"), for example ("loss", "down")'
            ) from None

    def refuse_bad(self, name: str, mark: float) -> None:
        """Raise InputError if `mark`, called `name`, is a value that the goal cannot have."""
        if not (0 < mark <= 1 if self.metric == "accuracy" else math.isfinite(mark)):
            room = "in (0, 1]" if self.metric == "accuracy" else "a finite number"
            raise InputError(f"{name} is {mark}; give the training {self.metric} that ends the run, {room}")


ACCURACY = Goal("accuracy", UP)
BITS = Goal("bits", DOWN, "per byte")
TOKEN_BITS = Goal("bits", DOWN, "per token")


def checked(goal: tuple[str, ...], whose: str) -> Goal:
    """The goal that a tuple says; InputError unless it is (metric, "up" or "down") or has a unit as its third."""
    if len(goal) not in (2, 3) or not all(isinstance(word, str) and word for word in goal):
        raise InputError(f'{whose}: goal is {goal!r}; give (metric, "up" or "down"), as in ("accuracy", "up")')
    if goal[1] not in (UP, DOWN):
        raise InputError(f'{whose}: goal {goal[0]!r} goes {goal[1]!r}; give "up" if more is better, else "down"')
    return Goal(*goal)
