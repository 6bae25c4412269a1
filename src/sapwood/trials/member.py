"""Member: a run in a stack, at one of its rows, and what it asks of the stack and gets from it.

Its parameters, buffers and optimiser state are views of its row as long as it is there, and its own again afterwards.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sapwood.training.loop import forget_gradients
from sapwood.training.run import Run
from sapwood.trials.alike import Watch

if TYPE_CHECKING:
    from sapwood.trials.stack import Stack


class Member:
    """A run in a stack, at one of its rows; in none, it steps by itself."""

    def __init__(self, run: Run) -> None:
        self.run, self.watch = run, Watch(run)
        self.stack: Stack | None = None
        self.row = -1
        self.ahead = 1  # steps that may be made before its own code is asked again
        self.values: tuple[Tensor, float] | None = None  # what its step gave: outputs, loss
        self.late: Tensor | None = None  # or its loss alone, at which nobody has looked yet: the rest is done
        self.failure: Exception | None = None  # what a hook of its own has raised, or is said of a loss
        self.shown = False  # its hooks have been called as they are now
        # The sums that they add to, or why not, see `counted`; None: nobody has asked.
        self.wanted: dict[Any, Any] | str | None = None
        self.masks: Mapping[str, Tensor] = {}  # those that the stack knows of
        self.parameters: dict[str, Tensor] = {}
        self.tensors: list[Tensor] = []  # all that lies in its row
        self.addresses: list[int] = []  # where they lie
        self.remembered: list[tuple[Tensor, Any]] = []  # what its optimiser remembers there
        self.batch = run.task.data.train.take(slice(0, 0))  # what its next step is made on, if it has been drawn
        self.form, self.drawn = list[tuple[str, torch.Size]](), False  # the shapes of that batch

    def asks(self, ahead: int) -> None:
        """It wants its next step, and its own code nothing before so many are made."""
        self.ahead, self.drawn, self.values, self.late = ahead, False, None, None
        if self.stack is None or not self.stack.in_a_graph(self):
            forget_gradients(self.run.optimizer)
            self.draw()  # here, so that an error is this run's own

    def draw(self) -> None:
        """Take the batch of its next step; a captured one takes it in the graph."""
        run = self.run
        self.batch, self.drawn = run.task.batch(run.seed, run.step), True
        self.form = [(name, part.shape) for name, part in self.batch.named().items()]

    def watched(self, watch: Watch) -> None:
        """Something has changed in it."""
        self.watch, self.shown, self.wanted = watch, False, None

    def fails(self) -> None:
        """Raise what is to be said, once."""
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure

    def placed(self) -> bool:
        """Whether all that is its own still lies in its row."""
        state = self.run.optimizer.state
        return [*map(Tensor.data_ptr, self.tensors)] == self.addresses and all(
            [state.get(parameter) is kept for parameter, kept in self.remembered]
        )

    def leave(self) -> None:
        """Out of its stack, with tensors of its own."""
        if self.stack is not None:
            self.stack.drop(self)


def neighbours_in(members: Sequence[Member]) -> list[list[Member]]:
    """The members by rows, in lists of such as lie side by side and have batches of the same shapes."""
    found: list[list[Member]] = []
    for member in sorted(members, key=lambda each: each.row):
        before = found[-1][-1] if found else None
        if before is not None and before.row + 1 == member.row and before.form == member.form:
            found[-1].append(member)
        else:
            found.append([member])
    return found


@torch.no_grad()
def released(member: Member) -> None:
    """A member's tensors are its own again."""
    for tensor in member.tensors:
        tensor.data = tensor.detach().clone()
        if tensor.grad is not None:
            tensor.grad = tensor.grad.clone()
    for _, kept in member.remembered:
        kept.update({what: value.clone() for what, value in kept.items()})
    member.tensors, member.addresses, member.remembered, member.masks = [], [], [], {}
    if (held := member.run._held) is not None:
        held.back()
