"""Marks: what is known of every id, side by side in one table."""

from enum import IntEnum

import torch
from torch import Tensor

from sapwood.shrinking.rules.union import START


class Mark(IntEnum):
    """A row of the table; 0 everywhere at first."""

    TIED = 0  # number of the last operator that tied it
    REASON = 1  # number of the reason why it stays; 0: it may go
    MADE = 2  # how early a contraction made it; 0: none did
    READ = 3  # a contraction reads it
    OF_WEIGHTS = 4  # a contraction of weights alone goes over it
    OF_ACTIVATIONS = 5  # one of an activation does
    MISSED_BY_OTHERS = 6  # without it, those that stay compute something else
    DEPENDS_ON_OTHERS = 7  # its number depends on other data than its unit's


class Marks:
    """The table; a row is a view, to be written to."""

    def __init__(self) -> None:
        self._table = torch.zeros(len(Mark), START, dtype=torch.int64)

    def __getitem__(self, mark: Mark) -> Tensor:
        return self._table[mark]

    def grow(self, size: int) -> None:
        """Make room for more ids."""
        more = size - self._table.shape[1]
        self._table = torch.cat([self._table, self._table.new_zeros(len(Mark), more)], 1)
