"""Sizes: what views must give in a smaller network, and whether they do; `steps.py` notes what they give.

A smaller network may run with a size that is wrong, as two heads of half the size instead of one whole. Nothing that
comes after needs to show it: an activation may be silent, a weight 0. So sizes are compared where they are used.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from sapwood.shrinking.cutting.cut import Keep, leaving
from sapwood.shrinking.tracing.site import Site
from sapwood.shrinking.tracing.steps import Sizes

NUMBER = ", so a size is a number there"
Wanted = dict[tuple[str, int, int], dict[int, int]]  # (operator, which call, of how many) -> {dimension: size}


@dataclass(frozen=True)
class Wrong:
    """A size that is not what it must be: what to say, and how many before it were right."""

    text: str
    right: int


def wanted(sites: Iterable[Site], keep: Keep) -> Wanted:
    """The sizes of a smaller network's views where units lie: as many positions as stay."""
    gone = dict[tuple[str, int, int, torch.Size, int], Tensor]()
    for site in (site for site in sites if site.name in keep):
        for use in site.uses:
            place = use.operator, use.call, use.calls, use.shape, use.dim
            here = leaving(use, keep[site.name])
            gone[place] = gone[place] | here if place in gone else here
    found: Wanted = {}
    for (operator, call, calls, shape, dim), here in gone.items():
        found.setdefault((operator, call, calls), dict(enumerate(shape)))[dim] = int((~here).sum())
    return found


def wrong_in(small: Sizes, wanted: Wanted, whole: Sizes) -> Wrong | None:
    """The first size that is not as wanted, or number that was another one in the whole network."""
    right = 0
    for (operator, call, calls), sizes in wanted.items():
        given = small.given.get(operator, [])
        if len(given) == calls:  # else some of them give nothing that is used: not known which
            if tuple(given[call]) != tuple(sizes.values()):
                return Wrong(f"{operator} would give {list(given[call])} and not {list(sizes.values())}", right)
            right += 1
    if len(small.numbers) == len(whole.numbers):
        for (name, line, one), (_, _, other) in zip(small.numbers, whole.numbers, strict=True):
            if str(one) != str(other):  # NaN too
                said = f"aten.{name} ({line}) would compute with {one} and not {other}{NUMBER}"
                return Wrong(said, right)
    return None


def unseen(small: Sizes, site: Site) -> bool:
    """Whether a view that works out a size by itself was not seen, with units of the site in what it gives."""
    return any(use.inferred and len(small.given.get(use.operator, ())) != use.calls for use in site.uses)
