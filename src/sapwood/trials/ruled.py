"""Ruled: the optimiser's step of the rows of a stack that go, by numbers that lie on the device, so that none is fixed.

Rows that do not go stay as they are, and so does what is remembered of them, whatever their gradients are.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sapwood.trials.elementwise import Moments, adapted, descended
from sapwood.trials.member import Member

if TYPE_CHECKING:
    from sapwood.trials.stack import Stack

STEP = "step"  # what Adam calls its count of steps, one for each parameter


class Told:
    """Numbers of Python's on the device, where a graph reads them."""

    def __init__(self, there: Tensor) -> None:
        self.there, self.said = there, there.tolist()

    def tell(self, values: list[Any]) -> None:
        """Write them, if they are others than before."""
        if values != self.said:
            self.there.copy_(torch.tensor(values, dtype=self.there.dtype))
            self.said = values


class Ruled:
    """The rule of a stack, with the rates of all rows and Adam's counts of steps."""

    def __init__(self, stack: "Stack", zero: Tensor) -> None:
        """`zero`: one 0 for each row, in float64."""
        self._stack, self._ones = stack, zero + 1
        self._lr, self._decay = (Told(zero.repeat(len(stack.groups), 1)) for _ in range(2))
        self._names = [name for _, names in stack.groups for name in names]
        self._steps = zero.repeat(len(self._names), 1)
        self._trained: set[str] = set()  # the parameters that get gradients

    @property
    def decaying(self) -> tuple[bool, ...]:
        """Of which groups any row's weights decay."""
        return tuple(any(rates) for rates in self._decay.said)

    def tell(self, members: Sequence[Member]) -> None:
        """The rates of these members, as they are now."""
        for told, what in ((self._lr, "lr"), (self._decay, "weight_decay")):
            values = [list(each) for each in told.said]
            for member in members:
                for at, group in enumerate(member.run.optimizer.param_groups):
                    values[at][member.row] = group[what]
            told.tell(values)

    def load(self, row: int) -> None:
        """Write the count of Adam's steps in a row to the device, as the CPU has it."""
        if not self._stack.simple:
            steps = [self._stack.memory[name][STEP][row].item() for name in self._names]
            self._steps[:, row].copy_(torch.tensor(steps))

    def counted(self, row: int, steps: int) -> None:
        """The CPU hears that so many more were made."""
        if not self._stack.simple:
            for name in self._trained:
                self._stack.memory[name][STEP][row] += steps

    @torch.no_grad()
    def move(self, going: Tensor, slopes: Mapping[str, Tensor | None]) -> None:
        """Make the step of the rows in `going`, bool [E]."""
        stack, far, begin = self._stack, going.double(), 0
        self._trained = {name for name, slope in slopes.items() if slope is not None}
        for number, (rule, names) in enumerate(stack.groups):
            lr = self._lr.there[number] * far
            decay = self._decay.there[number] * far if self.decaying[number] else None
            momentum = self._ones.masked_fill(going, rule["momentum"]) if stack.simple else None
            moments = None if stack.simple else self._moments(rule, lr, going, slice(begin, begin + len(names)))
            begin += len(names)
            for at, name in enumerate(names):
                slope, w = slopes[name], stack.weights[name]
                if slope is None:
                    continue
                g = torch.where(by_row(going, w), slope, 0)
                memory = {what: kept for what, kept in stack.memory[name].items() if what != STEP}
                rate, less = _as_row(lr, w), 0.0 if decay is None else _as_row(decay, w)
                if moments is None:
                    descended(w, g, memory, rate, less, rule, None if momentum is None else _as_row(momentum, w))
                else:
                    mine = Moments(*(_as_row(each if each.dim() == 1 else each[at], w) for each in moments))
                    adapted(w, g, memory, rate, less, rule, mine)
                stack.clear(name, slice(None), (w, *memory.values()))

    def _moments(self, rule: dict[str, Any], lr: Tensor, going: Tensor, numbers: slice) -> Sequence[Tensor]:
        """Adam's numbers, as in `Moments`, of so many parameters: [E], or [parameters, E] what depends on steps."""
        first, second = rule["betas"]
        steps = self._steps[numbers].add_(going).clamp(min=1.0)
        kept, roots = self._ones.masked_fill(going, second), (1 - second**steps).sqrt()
        return going * (self._ones * (1 - first)), kept, lr / (1 - first**steps), roots


def by_row(chosen: Tensor, like: Tensor) -> Tensor:
    """[E] so that it broadcasts over the rest."""
    return chosen.reshape(-1, *(1 for _ in like.shape[1:]))


def _as_row(values: Tensor, like: Tensor) -> Tensor:
    """The same, as numbers of its type."""
    return by_row(values.to(like.dtype), like)
