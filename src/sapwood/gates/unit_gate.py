"""Unit gate: how far each unit of a site is open; learned, and shared by all that make the site's units."""

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn

from sapwood.errors import InputError

Sees = Literal["inputs", "units"]


class UnitGate(nn.Module, ABC):
    """A learned number, of 0 to `most`, for each unit of one site, one rank or one branch.

    Its parameters are its own and flat, so that nobody takes them for weights. In training mode `draw` may draw from
    torch's generator; in evaluation mode it draws nothing, and is 0 exactly where `keep` says that the unit goes. What
    is 0 counts as removed: `Gated` multiplies where the units are scaled last.
    """

    most = 1.0  # values are from 0 to this
    per_sample = False  # True: `draw` gives one row for each sample of x; may be so in training mode only
    sees: Sees = "inputs"  # per sample: what the layer whose units they are is given, or the units' means, [B, U]

    def __init__(self, units: int) -> None:
        super().__init__()
        if type(units) is not int or units < 1:
            raise InputError(f"units is {units!r}; give the number of units of the site, a whole number of 1 or more")
        self.units = units

    @abstractmethod
    def draw(self, x: Tensor | None) -> Tensor:
        """The values z in this pass, [U]; per sample [B, U], x being what the gate `sees`."""

    @abstractmethod
    def open(self) -> Tensor:
        """How far, or how probably, each unit is open: [U], or [B, U] of the last draw, in [0, 1]; costs read it."""

    @abstractmethod
    def keep(self) -> Tensor:
        """The decision as it stands, bool [U]: True where the unit stays."""

    def penalty(self) -> Tensor:
        """What is added to the loss; a scalar, 0 unless the gate has a penalty of its own."""
        first = next(self.parameters(), None)
        return torch.zeros(()) if first is None else first.new_zeros(())
