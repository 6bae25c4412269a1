"""Turns: the blocks of a model one after another, each on its device for its turn, and what its layers read there."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sapwood.export.padding import tokens_in, without_padding
from sapwood.export.trunk import Trunk
from sapwood.reconstruction.flow import Flow
from sapwood.scoring import batches as batching
from sapwood.scoring.evidence import Statistic
from sapwood.scoring.statistics import count

Sums = dict[str, Mapping[str, Tensor]]  # {layer: {statistic: its sum}}


@dataclass(frozen=True)
class Turns:
    """A model, its blocks, and what they are shown."""

    model: nn.Module
    trunk: Trunk
    given: Sequence[batching.Arguments]
    device: torch.device | None

    def flow(self) -> Flow:
        """What the first block reads."""
        return Flow(self.model, self.trunk.names, self.given, False, skim=True, device=self.device)

    def observed(self, flow: Flow, number: int, *statistics: Statistic, only: Sequence[str] | None = None) -> Sums:
        """Sums over the rows that each layer of a block reads, without padding, and their count, by layer.

        `only` names the layers, which must run; without it, all that are to be pruned, of which some may not.
        """
        name = self.trunk.names[number]
        layers = [each.name for each in self.trunk.inside[name]] if only is None else only
        short = {layer[len(name) :].lstrip("."): layer for layer in layers}
        rows = [tokens_in(arguments) for arguments in self.given]
        sums = [without_padding(each, lambda: rows[flow.at]) for each in (*statistics, count)]
        seen = flow.observed(number, sums, list(short), all_run=self.trunk.named or only is not None)
        return {short[layer]: each for layer, each in seen.items()}


@contextmanager
def placed(block: nn.Module, device: torch.device | None) -> Iterator[None]:
    """A block on a device for its turn, and afterwards back where it was."""
    homes = {parameter.device for parameter in block.parameters()} if device is not None else set()
    if len(homes) != 1:
        yield
        return
    block.to(device)
    try:
        yield
    finally:
        block.to(homes.pop())
