"""Given: what another, finished run left, for a run that goes on from it, is measured by it or learns from it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from sapwood.errors import InputError


@dataclass(frozen=True)
class Given:
    """The result of another, finished run, given to a run that starts from it or is compared with it."""

    weights: Mapping[str, Tensor]  # its model's state_dict
    masks: Mapping[str, Tensor]
    epochs: float  # that it trained
    rebuilt: bool = False  # whether its network has other shapes than its task's
    build: Callable[[], nn.Module] | None = field(default=None, repr=False, compare=False)

    def network(self) -> nn.Module:
        """The network as it was left, at the size that it had in the end; a new one at each call.

        Masks are not applied: they are in `masks`. No random state is advanced. InputError: its method put in layers
        that its task's network does not have, so that nothing can build it.
        """
        if self.build is None:
            raise InputError("what was given has no network, only weights; give Given(..., build=)")
        with torch.random.fork_rng(devices=[]):
            return self.build()
