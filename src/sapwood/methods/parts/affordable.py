"""Affordable: which structures may stay when no more than a share of the multiply-adds is to be left.

What has a factor of 0 goes in any case. Where that is not enough, what has the smallest factors goes too.
"""

from collections.abc import Callable

import torch

from sapwood.errors import InputError
from sapwood.gates import Gated
from sapwood.methods.parts.structures import Structures, spared
from sapwood.selection import select
from sapwood.selection.select import Keep
from sapwood.shrinking.cost import macs_of
from sapwood.shrinking.depth import remove_branches
from sapwood.shrinking.shrunk import shrink
from sapwood.shrinking.tracing.anatomy import Anatomy
from sapwood.training.run import Run
from sapwood.training.size import size

Work = Callable[[Keep], float]  # {structures: which stay, bool [units]} -> multiply-adds of one sample


class Affordable:
    """At most `share` of the multiply-adds of a run's first network, after some of its structures are gone.

    To be made before factors are put on. InputError: more is left when all structures are gone.
    """

    def __init__(self, run: Run, kind: str, found: Structures, share: float) -> None:
        self.most, self._found = share * run.reference.macs, found
        self._work, self._last = work(kind, run.apart.one, run.apart.several, found), dict[str, bool]()
        least = self._work({name: torch.zeros(units, dtype=torch.bool) for name, units in found.units.items()})
        if not least <= self.most:
            raise InputError(f"macs={share} cannot be met: without all {kind} {least / run.reference.macs:.3f} of the "
                             "multiply-adds is left; give more, or another kind")  # fmt: skip

    def reached(self, gated: Gated) -> bool:
        """Whether it is enough that what is at 0 goes; counted anew only when that is something else than before."""
        keep = gated.keep()
        at = str([kept.tolist() for kept in keep.values()])
        if at not in self._last:
            self._last = {at: self._work(keep) <= self.most}
        return self._last[at]

    def chosen(self, gated: Gated) -> Keep:
        """What stays: all that is not at 0, without the smallest as long as more is left than may be."""
        keep = gated.keep()
        if self.reached(gated):
            return keep
        values = {name: gate.draw(None).detach() for name, gate in gated.by_site().items()}
        larger = select.within(values, self._work, self.most, least=int(bool(self._found.sites)))
        return {name: kept & larger[name] for name, kept in keep.items()}


def work(kind: str, one: Anatomy, several: Anatomy, found: Structures) -> Work:
    """A function that counts what is left of a network: of channels by formula, else of what is built without some."""
    counted = macs_of(one, found.sites if kind == "channels" else ())

    def left(keep: Keep) -> float:
        if kind == "channels":
            return float(counted(spared(keep)))
        gone = [name for name, kept in keep.items() if not kept.any()]
        small = (shrink(several, spared(keep), found.sites, check=False) if found.sites
                 else remove_branches(several, gone, reshaping=True, check=False))  # fmt: skip
        return size(small.model, one.example).macs

    return left
