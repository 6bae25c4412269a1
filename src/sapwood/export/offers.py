"""Offers: which units of a network may be removed, in which steps, and why the others stay."""

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from torch import Tensor, nn

from sapwood.errors import InputError, unknown
from sapwood.export.narrow import BLOCK, Narrow, narrow_branches, passed_by
from sapwood.shrinking.finding import couplings
from sapwood.shrinking.tracing.anatomy import Anatomy
from sapwood.shrinking.tracing.site import Pinned, Site, Slot

PATH = re.compile(r"/[^\s()]*/(?=[^/\s()]+)")  # a reason names a file and a line; its folders say nothing


@dataclass(frozen=True)
class Offer:
    """What may be removed from a network."""

    sites: tuple[Site, ...]  # that may lose units
    steps: dict[str, int]  # {site: its width changes by this many units}
    stays: tuple[Pinned, ...]  # what may not be removed, with the reason
    narrow: Mapping[str, Narrow] = field(default_factory=dict)  # {site: the branch that goes with its last units}
    passed_by: frozenset[str] = frozenset()  # the sites in branches: what these are added to passes by
    barred: Mapping[str, frozenset[int]] = field(default_factory=dict)  # {site: widths that it may not have}

    def only(self, scores: Mapping[str, Tensor]) -> "Offer":
        """The sites that have scores; the others stay."""
        free = tuple(site for site in self.sites if site.name in scores)
        unscored = (
            Pinned(s.name, s.units, "no score says what its units are worth") for s in self.sites if s not in free
        )
        names = {site.name for site in free}
        return replace(
            self,
            sites=free,
            steps={name: self.steps[name] for name in self.steps if name in names},
            stays=(*self.stays, *unscored),
            narrow={name: each for name, each in self.narrow.items() if name in names},
        )

    def without_branches(self) -> "Offer":
        """The same units, of which some stay at every site."""
        return replace(self, narrow={})

    @property
    def whole(self) -> set[str]:
        """The names of what may not be removed."""
        return {pin.name for pin in self.stays} - {site.name for site in self.sites}

    def block(self, name: str) -> int:
        """How many units of a site go last, and together: one step, all that a narrow branch is left with."""
        step = self.steps[name]
        return min(self.narrow[name].units, step * -(-BLOCK // step)) if name in self.narrow else step


def offer_of(anatomy: Anatomy, *, keep: Collection[str] = (), multiple: int = 1, lossy: bool = False) -> Offer:
    """The sites of a network that may lose units, in steps that keep widths multiples of `multiple`.

    A site stays whole if it sits on a module or parameter that `keep` names, or has no more units than one step.
    InputError: `keep` has an unknown name, `multiple` is below 1, or nothing may be removed.
    """
    if not isinstance(multiple, int) or isinstance(multiple, bool) or multiple < 1:
        raise InputError(f"multiple is {multiple!r}; widths are rounded to multiples of a whole number of 1 or more")
    found = couplings(anatomy, lossy=lossy)
    kept = _kept(anatomy.model, found.sites, keep)
    steps = {site.name: step(site, multiple) for site in found.sites if site.name not in kept}
    free = tuple(site for site in found.sites if site.units > steps.get(site.name, site.units))
    asked = [Pinned(name, units, f"keep= names {because!r}") for name, (units, because) in kept.items()]
    small = [
        Pinned(site.name, site.units, f"multiple={multiple} leaves no smaller width; multiple=1 may")
        for site in found.sites
        if site.name in steps and site not in free
    ]
    stays = (*asked, *small, *found.pinned)
    if not free:
        raise InputError(f"nothing of {type(anatomy.model).__name__} can be removed: {_reasons(stays)}")
    narrow, passed = narrow_branches(anatomy, free, keep), passed_by(anatomy, free)
    return Offer(free, {site.name: steps[site.name] for site in free}, stays, narrow, passed)


def step(site: Site, multiple: int) -> int:
    """How many units together take a multiple of `multiple` positions: 1 of heads with 64 channels each, say."""
    return multiple // math.gcd(multiple, channels(site))


def channels(site: Site) -> int:
    """How many positions side by side a unit takes in what makes and in what reads it: a head's or a group's, else 1.

    Of several that make it the widest counts, likewise of those that read it: a head has its queries' and values'
    channels, though a table of biases or a scale holds one number for each head.
    """
    return math.gcd(*(max(math.gcd(*_runs(slot)) for slot in slots) for slots in _by_role(site)))


def _by_role(site: Site) -> list[list[Slot]]:
    """What makes the units, and what reads them, if anything does."""
    return [slots for role in ("makes", "reads") if (slots := list(site.at(role)))]


def shortened(because: str) -> str:
    """A reason without the folders of the files that it names, and without what happened when it was tried."""
    return PATH.sub("", because.partition("; the smaller network does not run")[0])


def _runs(slot: Slot) -> list[int]:
    """The lengths of all stretches of one unit."""
    return [len(list(same)) for unit, same in groupby(slot.unit_of.tolist()) if unit >= 0]


def _kept(model: nn.Module, sites: Sequence[Site], names: Collection[str]) -> dict[str, tuple[int, str]]:
    """{site that stays whole: (its units, the name in `keep` that says so)}."""
    kept = dict[str, tuple[int, str]]()
    for name in names_in(model, names, {site.name for site in sites}):
        for site in sites:
            if site.name == name or any(belongs(slot.tensor, name) for slot in site.slots):
                kept.setdefault(site.name, (site.units, name))
    return kept


def names_in(model: nn.Module, keep: Collection[str], more: Collection[str] = ()) -> Collection[str]:
    """The names in `keep`; InputError if one is no module, parameter or buffer of the model, and none of `more`."""
    if isinstance(keep, str):
        raise InputError(f"keep is {keep!r}; give a list of names, as in keep=[{keep!r}]")
    every = (*model.named_modules(), *model.named_parameters(), *model.named_buffers())
    known = {name for name, _ in every if name} | set(more)
    for name in keep:
        if name not in known:
            raise unknown("name in keep", name, known)
    return keep


def belongs(tensor: str, name: str) -> bool:
    """Whether a tensor has this name, or is of the module of this name."""
    return f"{tensor}.".startswith(f"{name}.")


def _reasons(stays: Sequence[Pinned]) -> str:
    said = dict.fromkeys(f"{pin.name!r} stays: {shortened(pin.because)}" for pin in stays)
    return "; ".join(list(said)[:3]) or "it makes no units that others read"
