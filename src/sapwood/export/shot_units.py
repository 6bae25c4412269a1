"""Shot of units: a model without some heads and widths, and what was removed from it, in one pass over its blocks."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

from sapwood.currency import Keep
from sapwood.export.offers import shortened
from sapwood.shrinking.tracing.site import Pinned

MOST = 40  # places that are printed one by one; of more, their blocks are
LOADS = "shot.model.save_pretrained(folder) writes it, and from_pretrained loads it, sapwood or no sapwood"
REASONS = 3  # of what stays whole


class UnitsSolved(NamedTuple):
    """One layer that reads units; errors of its outputs are |what it gives - what it gave|² / |what it gave|²."""

    site: str
    layer: str
    block: str
    kind: str  # "heads" or "widths"
    units: int
    left: int
    masked: float  # with the units gone and nothing else changed
    error: float  # with the weights that it has now


@dataclass(frozen=True, repr=False)
class OneShotUnits:
    """The smaller model, and what was measured on the way. It prints as a table."""

    asked: str  # what was asked for, in words
    model: nn.Module  # the smaller one
    keep: Keep  # {site: bool [units], True stayed}
    layers: tuple[UnitsSolved, ...]
    sparsity: float  # the fraction removed of the weights of all layers in the blocks
    parameters: tuple[int, int]  # of the model: before, after
    seconds: Mapping[str, float]  # {block: how long it took}
    tokens: int  # that were looked at; padding is not counted
    stays: tuple[Pinned, ...]  # units that stay whole, with the reason
    difference: float | None  # of the outputs from those of the model with the removed units as 0, relative
    proven: torch.dtype | None  # in which type
    loads: bool  # whether from_pretrained loads what the model's save_pretrained writes

    def __str__(self) -> str:
        rows = [("", "units", "left", "error, masked", "error, now"), *self._rows()]
        widths = [max(len(row[at]) for row in rows) for at in range(5)]
        table = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows]
        return "\n".join([self._head(), "", *table, "", *(f"{what:6} {said}" for what, said in self._notes())])

    __repr__ = __str__

    def _head(self) -> str:
        before, after = self.parameters
        return (
            f"{self.asked}: {100 * self.sparsity:.1f} % of the blocks' weights removed, {after:,} of {before:,} "
            f"parameters left; {self.tokens:,} tokens, {sum(self.seconds.values()):.1f} s"
        )

    def _rows(self) -> Iterator[tuple[str, str, str, str, str]]:
        each = self.layers if len(self.layers) <= MOST else self._worst()
        for one in each:
            yield one.site, str(one.units), str(one.left), f"{one.masked:.4f}", f"{one.error:.4f}"

    def _worst(self) -> Iterator[UnitsSolved]:
        """Of each kind of layer the one with the largest error, where there are too many to print."""
        kinds: dict[tuple[str, str, int], list[UnitsSolved]] = {}
        for one in self.layers:
            kinds.setdefault((one.kind, one.layer[len(one.block) :], one.left), []).append(one)
        for alike in kinds.values():
            worst = max(alike, key=lambda one: one.error)
            yield worst._replace(site=f"{len(alike)} like {worst.site}, the worst")

    def _notes(self) -> Iterator[tuple[str, str]]:
        said = f"of a layer's outputs on the {self.tokens:,} tokens, as the smaller blocks before it give them"
        yield "error", f"{said}: squared, relative"
        if self.difference is not None:
            yield "proof", f"equal to the model with the removed units as 0, to {self.difference:.1e} in {self._type()}"
        for because, pins in self._reasons():
            more = f" and {len(pins) - 1} more" if len(pins) > 1 else ""
            yield "whole", f"{pins[0].name}{more}: {because}"
        yield "next", LOADS if self.loads else "sapwood.export.save(shot.model, path, of=model) writes it to a file"

    def _type(self) -> str:
        return str(self.proven).removeprefix("torch.")

    def _reasons(self) -> list[tuple[str, list[Pinned]]]:
        found: dict[str, list[Pinned]] = {}
        for pin in self.stays:
            found.setdefault(shortened(pin.because), []).append(pin)
        return [*found.items()][:REASONS]
