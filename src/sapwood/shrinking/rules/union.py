"""Union: which ids have been tied together, each class known by its smallest id.

Looking an id up follows links; what was found is written down, so the next look is short. Nothing here passes over all
ids but `flat`, which is for afterwards: an operator costs as much as the ids that it touches.
"""

import torch
from torch import Tensor

START = 4096  # ids that there is room for at first
FEW = 8  # links that are followed one by one


class Union:
    """Ids from 0 on, each in a class of its own until tied."""

    def __init__(self, links: Tensor | None = None) -> None:
        self._link, self._flat = torch.arange(START) if links is None else links.clone(), True
        self.joins = 0  # how often ids have been tied; as long as this is the same, so are all classes

    def __len__(self) -> int:
        """How many ids there is room for."""
        return len(self._link)

    def grow(self, size: int) -> None:
        """Make room."""
        self._link = torch.cat([self._link, torch.arange(len(self._link), size)])

    def find(self, ids: Tensor) -> Tensor:
        """The smallest id of each id's class, shaped like `ids`."""
        which = ids.reshape(-1)  # index_select takes a third of the time of brackets
        found = self._link.index_select(0, which)
        if self._flat:
            return found.view(ids.shape)
        for links in range(FEW):
            further = self._link.index_select(0, found)
            if torch.equal(further, found):
                if links:
                    self._link[which] = found
                return found.view(ids.shape)
            found = further
        return self.flat()[ids]  # a long chain: shortened for all

    def join(self, low: Tensor, high: Tensor) -> None:
        """Tie pairs of ids, each the smallest of its class; where several pairs name one id the smallest counts."""
        self._link.scatter_reduce_(0, high, low, "amin")
        self._flat, self.joins = False, self.joins + 1

    def flat(self) -> Tensor:
        """The smallest id of every id's class."""
        while not self._flat:
            further = self._link[self._link]
            self._link, self._flat = further, torch.equal(further, self._link)
        return self._link
