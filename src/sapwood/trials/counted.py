"""Counted: what the layers of all members show, added up on the stack by row, in place of hooks called one by one.

The evidence that a member's `observing` adds to is a view of its row, as its weights are: whoever reads, empties or
replaces it between steps finds what a run alone would. A sum that was taken out of it stays what it was.
"""

from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import vmap

from sapwood.scoring.evidence import Evidence, Sight, Sums
from sapwood.scoring.statistics import STATISTICS
from sapwood.trials.member import Member
from sapwood.trials.passing import Seen

Want = tuple[str, str]  # a layer's name in the evidence, a statistic


class Place(NamedTuple):
    """Where a member wants a sum, and whose calls it is of."""

    evidence: Evidence
    modules: list[str]


class Bound(NamedTuple):
    """A sum that is a row's: where it lies, in whose hands."""

    sums: MutableMapping[str, Tensor]
    view: Tensor


def wants_of(member: Member) -> dict[Want, Place] | str:
    """The sums that a member's hooks add to; or why they cannot be added up together, in words."""
    found: dict[Want, Place] = {}
    for name, hooks in member.watch.observers.items():
        for module, hook, _ in hooks:
            adds = getattr(hook, "adds", None)
            if adds is None:
                return f"a hook on layer {name!r} is not that of observing(...)"
            if adds.training is not None and adds.training != module.training:
                continue
            for statistic in adds.statistics:
                if statistic.wants or STATISTICS.get(str(statistic)) is not statistic:
                    return f"statistic {str(statistic)!r} looks at more than layers of all members show together"
                place = found.setdefault((adds.name, str(statistic)), Place(adds.evidence, []))
                if place.evidence is not adds.evidence or name in place.modules:
                    return f"{str(statistic)!r} of layer {name!r} is counted twice"
                place.modules.append(name)
    return found


class Counted:
    """The sums of all rows."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.kept: dict[Want, Tensor] = {}  # [E, ...]
        self.modules: dict[Want, list[str]] = {}
        self._bound: dict[int, dict[Want, Bound]] = {}  # by row

    def watched(self) -> set[str]:
        """The modules that are to be looked at."""
        return {module for modules in self.modules.values() for module in modules}

    def places(self) -> list[tuple[Want, int]]:
        """What is added up, and where."""
        return [(want, kept.data_ptr()) for want, kept in self.kept.items()]

    @torch.no_grad()
    def follow(self, row: int, wanted: Mapping[Want, Place]) -> bool:
        """Sums of a row are views of it; False if nobody knows yet what they are like."""
        bound = self._bound.setdefault(row, {})
        for want, place in wanted.items():
            sums, mine = place.evidence.get(want[0]), bound.get(want)
            if mine is not None and sums is mine.sums and _settled(sums).get(want[1]) is mine.view:
                continue
            if mine is not None:
                _let_go(bound.pop(want))
            if not isinstance(sums, Sums):
                sums = place.evidence[want[0]] = Sums(sums or {})
            before = sums.settled().get(want[1])
            if want not in self.kept:
                if before is None:
                    return False
                self.kept[want] = torch.zeros((self.rows, *before.shape), dtype=before.dtype, device=before.device)
                self.modules[want] = place.modules
            view = self.kept[want][row]
            view.zero_() if before is None else view.copy_(before)
            sums[want[1]] = view
            bound[want] = Bound(sums, view)
        return True

    def values(self, seen: Seen, network: nn.Module) -> list[tuple[Tensor, Tensor]]:
        """What is to be added to what, [E, ...] each."""
        return [(self.kept[want], value) for want in self.kept for value in self._values_of(want, seen, network)]

    def _values_of(self, want: Want, seen: Seen, network: nn.Module) -> Iterator[Tensor]:
        of = STATISTICS[want[1]].of
        for name in self.modules[want]:
            layer: Any = network.get_submodule(name)
            for x, y in seen[name]:
                yield vmap(lambda x, y, layer=layer: of(Sight(layer, x, y)))(x, y)

    def let_go(self, row: int) -> None:
        """Sums of a row are its member's own again; what nobody wants any more is not added up."""
        for bound in self._bound.pop(row, {}).values():
            _let_go(bound)
        for want in self.kept.keys() - {want for others in self._bound.values() for want in others}:
            del self.kept[want], self.modules[want]


@torch.no_grad()
def _let_go(bound: Bound) -> None:
    bound.view.data = bound.view.detach().clone()  # whoever has it, has it for good


def _settled(sums: MutableMapping[str, Tensor]) -> Mapping[str, Tensor]:
    return sums.settled() if isinstance(sums, Sums) else sums
