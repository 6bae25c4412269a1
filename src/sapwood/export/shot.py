"""Shot: what was removed from a model in one pass over its blocks, and what that did to each layer's outputs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from sapwood.currency import Masks
from sapwood.masking import masks as mask

MOST = 40  # layers that are printed one by one; of more, their blocks are


class LayerSolved(NamedTuple):
    """One layer; errors of its outputs are |what it gives - what it gave|² / |what it gave|² on the same tokens."""

    layer: str
    block: str
    sparsity: float
    masked: float  # with the removed weights 0 and the others as they were
    error: float  # with the weights that it has now


@dataclass(frozen=True, repr=False)
class OneShot:
    """The masks, {parameter: bool, True was kept}, on the CPU; and what was measured. It prints as a table."""

    asked: str  # what was asked for, in words
    masks: Masks
    layers: tuple[LayerSolved, ...]
    ratios: Mapping[str, float]  # {block: the sparsity asked of it}, of all blocks, also those still to prune
    seconds: Mapping[str, float]  # {block: how long it took}, of the blocks that are pruned
    tokens: int  # that were looked at; padding is not counted
    untouched: tuple[str, ...]  # layers that are in no block, were left out, or did not run

    @property
    def sparsity(self) -> float:
        """The fraction removed of all weights that have a mask."""
        return mask.sparsity(self.masks)

    @property
    def left(self) -> list[str]:
        """The blocks that are still to prune: of a pass that was interrupted."""
        return [name for name in self.ratios if name not in self.seconds]

    def __str__(self) -> str:
        rows = [("", "removed", "error, masked", "error, now", "seconds"), *self._rows()]
        widths = [max(len(row[at]) for row in rows) for at in range(5)]
        table = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows]
        return "\n".join([self._head(), "", *table, "", *(f"{what:6} {said}" for what, said in self._notes())])

    __repr__ = __str__

    def _head(self) -> str:
        done = f"{len(self.seconds)} of {len(self.ratios)} blocks"
        return (
            f"{self.asked}: {100 * self.sparsity:.1f} % of {sum(k.numel() for k in self.masks.values()):,} weights "
            f"removed, in {len(self.layers)} layers of {done}; {self.tokens:,} tokens, "
            f"{sum(self.seconds.values()):.1f} s"
        )

    def _rows(self) -> Iterator[tuple[str, str, str, str, str]]:
        for block, seconds in self.seconds.items():
            mine = [each for each in self.layers if each.block == block]
            if not mine:
                continue
            worst = max(mine, key=lambda each: each.error)
            if len(self.layers) <= MOST:
                yield from (_row(each.layer, each, seconds if each is mine[-1] else None) for each in mine)
            else:
                removed = sum(int((~self.masks[name]).sum()) for name in self._of(block))
                share = removed / sum(self.masks[name].numel() for name in self._of(block))
                name = worst.layer.removeprefix(f"{block}.")
                yield _row(f"{block}, worst {name}", worst._replace(sparsity=share), seconds)

    def _of(self, block: str) -> list[str]:
        return [name for name in self.masks if name.startswith(f"{block}.")]

    def _notes(self) -> Iterator[tuple[str, str]]:
        yield (
            "error",
            "of a layer's outputs on the calibration tokens, as the pruned blocks before give them: squared, relative",
        )
        if self.untouched:
            more = f" and {len(self.untouched) - 1} more" if len(self.untouched) > 1 else ""
            yield "whole", f"{self.untouched[0]}{more}"
        if self.left:
            yield "left", f"{len(self.left)} blocks, from {self.left[0]} on: one_shot(..., after=this)"
        yield (
            "next",
            "hold(model, optimizer, shot.masks) keeps the zeros in training; model.save_pretrained writes them",
        )
        yield "speed", "zeros inside of a matrix make no mainstream server faster; sapwood.prune removes whole units"


def _row(name: str, each: LayerSolved, seconds: float | None) -> tuple[str, str, str, str, str]:
    said = "" if seconds is None else f"{seconds:.1f}"
    return name, f"{100 * each.sparsity:.1f} %", f"{each.masked:.4f}", f"{each.error:.4f}", said
