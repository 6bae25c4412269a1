"""Liked widths: which widths an engine runs no faster than wider ones, found with whole networks and a clock.

An engine may take as long for 9 channels as for 16, and longer for 25 than for 32. Such widths cost accuracy for
nothing. Which they are depends on processor, engine and batch, so they are measured: all sites of a kind get a width in
one network and a wider one in another, and the two are timed side by side.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from torch import nn

from sapwood.currency import Keep, Scores
from sapwood.export.choices import widths
from sapwood.export.offers import Offer
from sapwood.selection import select
from sapwood.shrinking.tracing.site import Site

GRAIN = 16  # the next multiple of it is asked about, too: processors compute so many channels at a time
FREE = 0.25  # of the time that its work would take in proportion: what costs less is taken to cost nothing
ASKED = 2  # times that it must be found: a width that is barred by mistake is gone
Kind = tuple[int, int, tuple[tuple[int, ...], ...]]
Ratio = Callable[[Keep, Keep], float]  # (one network, another) -> time of the second / time of the first
Work = Callable[[Keep], float]


@dataclass
class Judge:
    """Asks which widths are liked, each question once."""

    ratio: Ratio
    work: Work
    known: dict[tuple[Kind, int, int], bool] = field(default_factory=dict)

    def disliked(self, model: nn.Module, offer: Offer, scores: Scores, keep: Keep) -> dict[str, set[int]]:
        """{site: widths that take as long as a wider one}, of the widths that sites have in `keep`.

        Of the widths between the two the same is assumed.
        """
        barred = dict[str, set[int]]()
        for kind, sites in kinds(model, offer.sites).items():
            there = [site for site in sites if bool(keep[site.name].any())]
            for width in sorted({int(keep[site.name].sum()) for site in there} - {kind[0]}):
                for wider in _wider(width, widths(offer, there[0].name, kind[0])):
                    if self._as_fast(kind, there, width, wider, scores, keep):
                        for site in sites:
                            barred.setdefault(site.name, set()).update(range(width, wider))
                        break
        return barred

    def _as_fast(self, kind: Kind, sites: Sequence[Site], width: int, wider: int, scores: Scores, keep: Keep) -> bool:
        """Whether a network in which these sites have the wider width takes no longer."""
        if (kind, width, wider) not in self.known:
            mine = {site.name: scores[site.name] for site in sites}
            one, other = (keep | select.by_count(mine, dict.fromkeys(mine, count)) for count in (width, wider))
            more = self.work(other) / self.work(one) - 1
            limit = 1 + FREE * more
            self.known[kind, width, wider] = all(self.ratio(one, other) <= limit for _ in range(ASKED))
        return self.known[kind, width, wider]


def kinds(model: nn.Module, sites: Sequence[Site]) -> dict[Kind, list[Site]]:
    """Sites of as many units, made by one layer or by several, on kernels of the same sizes."""
    tensors = dict(chain(model.named_parameters(), model.named_buffers()))
    found = dict[Kind, list[Site]]()
    for site in sites:
        kernels = {(len(tensors[slot.tensor].shape), *tensors[slot.tensor].shape[2:]) for slot in site.slots}
        found.setdefault((site.units, min(2, len(list(site.at("makes")))), tuple(sorted(kernels))), []).append(site)
    return found


def _wider(width: int, allowed: Sequence[int]) -> Iterator[int]:
    """The next width, and the next that is a multiple of 16."""
    more = [each for each in allowed if each > width]
    yield from more[:1]
    yield from [each for each in more[1:] if each % GRAIN == 0 or each == allowed[-1]][:1]


def joined(one: Mapping[str, frozenset[int]], other: Mapping[str, set[int]]) -> dict[str, frozenset[int]]:
    """All widths of both."""
    return {name: frozenset((*one.get(name, ()), *other.get(name, ()))) for name in {**one, **other}}
