"""A weight that is sharded over processes (FSDP2): each clears the removed entries of its own part, and sends nothing.

Zeros in all parts are zeros in the weight that is gathered for a pass. FSDP2 calls the gradient's hook when this
process's part of the gradient has arrived. A part lies in memory that others use as well, so nothing is sealed.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from sapwood import processes
from sapwood.masking.removed import Removed


class Sharded(Removed):
    """One sharded weight under one mask, of which `keep` is this process's part."""

    sealable = False

    def clear(self) -> None:
        """Removed entries of this process's part are exactly 0."""
        self.zero(processes.own(self.weight))
        if self._hook is None and self.gradients and self.weight.requires_grad:
            self._watch_gradient()

    def clear_gradient(self) -> None:
        """Those of its gradient, too."""
        if self.weight.grad is not None:
            self.zero(processes.own(self.weight.grad))

    def gradient_is_clear(self) -> bool:
        """Nobody can tell."""
        return False

    def clear_memory(self, state: Mapping[Any, Any]) -> None:
        """Those of an optimiser's memory, too."""
        for _, value in self._remembered(state):
            self.zero(value)

    def written(self, state: Mapping[Any, Any], *, gradient: bool = False) -> Iterator[tuple[Tensor, Removed]]:
        """This process's parts of what a step may have written to."""
        if self._hook is None and self.gradients:
            self.clear()  # which begins to watch the gradient
        else:
            yield processes.own(self.weight), self
        if gradient and self.weight.grad is not None:
            yield processes.own(self.weight.grad), self
        yield from ((value, self) for _, value in self._remembered(state))

    def found(self, owner: nn.Module, weight: Tensor | None) -> None:
        """In the middle of a pass the gathered weight is in the place of the part, from which it was made."""
        if processes.sharded(weight) or weight is None or weight.shape != self.shape:
            super().found(owner, weight)

    def _remembered(self, state: Mapping[Any, Any]) -> Iterator[tuple[tuple[int, str], Tensor]]:
        for key, value in super()._remembered(state):
            part = processes.own(value)
            if part.shape == self.keep.shape:
                yield key, part
