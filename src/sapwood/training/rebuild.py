"""Rebuild: cut units out of a run's network and out of its masks, and record what was cut."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from sapwood.currency import Masks
from sapwood.shrinking.cutting.cut import Keep, positions, sliced
from sapwood.shrinking.cutting.units import spread
from sapwood.shrinking.shrunk import shrink
from sapwood.shrinking.tracing.anatomy import Anatomy
from sapwood.shrinking.tracing.site import Site
from sapwood.training.size import Size

Wanted = Keep | Callable[[], Keep]


class Cut(NamedTuple):
    """One rebuilding of a run's network."""

    round: int  # the run's, afterwards
    keep: Keep  # {site: bool [units]}, True stayed
    size: Size  # of what was built

    @property
    def units(self) -> int:
        """How many were taken out."""
        return sum(kept.numel() - int(kept.count_nonzero()) for kept in self.keep.values())


class Smaller(NamedTuple):
    """A network without units, and what goes with it."""

    model: nn.Module
    masks: Masks  # the masks in force, cut to its shapes
    removed: Masks  # of the larger network: False where a removed unit sat


def cut(anatomy: Anatomy, keep: Keep, sites: Sequence[Site], masks: Mapping[str, Tensor]) -> Smaller:
    """`shrink` of a copy of the model, which is left as it was, and of its masks."""
    small, places = shrink(anatomy, keep, sites).model, positions(sites, keep)
    smaller = {name: sliced(m, places.get(name, {})) for name, m in masks.items()}
    return Smaller(small, smaller, spread(anatomy.model, keep, sites))
