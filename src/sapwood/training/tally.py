"""Tally: an epoch's running sums. What lies on a device is added up there, and read when somebody asks."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor


class Tally:
    """Sums by name, in float64, and the loss of the step in progress."""

    def __init__(self, sums: Mapping[str, float] | None = None) -> None:
        self._sums: dict[str, float | Tensor] = dict(sums or {})
        self._underway: Underway | None = None
        self.behind: Callable[[], None] | None = None  # brings what a recording has added up, before anybody reads

    def add(self, name: str, value: float | Tensor) -> None:
        """Add to the sum of this name, which begins at 0."""
        self._sums[name] = self._sums.get(name, 0.0) + number(value)

    def read(self) -> dict[str, float]:
        """The sums as numbers; waits for a device that has some of them."""
        if self.behind is not None:
            self.behind()
        self._sums = {name: float(value) for name, value in self._sums.items()}
        return {name: float(value) for name, value in self._sums.items()}

    def take(self, sums: Mapping[str, float]) -> None:
        """These in place of all there were."""
        self._sums = dict(sums)

    def expect(self, loss: Tensor) -> None:
        """The loss is known and will be asked for: an update says so before its backward pass.

        `loss` here is the tensor that the update returns. On a GPU its value is then on its way while the backward pass
        runs, and whoever asks waits for the forward pass alone.
        """
        if self.behind is None and not here(loss):
            self._underway = Underway(loss)

    def value(self, loss: Tensor) -> float:
        """The loss as a number."""
        underway, self._underway = self._underway, None
        return underway.read() if underway is not None and underway.of is loss else loss.item()


class Underway:
    """A number on its way from a device to the host, both of which go on with other things."""

    def __init__(self, of: Tensor) -> None:
        self.of = of
        self._number = of.detach().to("cpu", non_blocking=of.is_cuda)  # pinned: torch sees to that
        self._arrived = torch.cuda.Event() if of.is_cuda else None  # type: ignore[no-untyped-call]
        if self._arrived is not None:
            self._arrived.record(torch.cuda.current_stream(of.device))

    def read(self) -> float:
        """Waits until it is there."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return self._number.item()


def number(value: float | Tensor) -> float | Tensor:
    """What is read at once as a number; anything else where it is, in float64."""
    if not isinstance(value, Tensor) or here(value):
        return float(value)
    return value.detach().double()


def here(tensor: Tensor) -> bool:
    """Whether a tensor is read at once: on a CPU, and where float64 or events may be missing."""
    return not tensor.is_cuda
