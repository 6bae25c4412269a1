"""Widths: how many units of each site stay, from ratios set by hand, one ranking, or what each layer's loss costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sapwood.currency import Keep, Scores
from sapwood.errors import InputError, refuse_unless
from sapwood.export.run_budget import budget_of, within
from sapwood.masking.holding import seen_through
from sapwood.selection import select
from sapwood.selection.scans import below, by_loss
from sapwood.shrinking.cost import fewest, macs_of
from sapwood.shrinking.cutting.units import spread
from sapwood.shrinking.finding import sites
from sapwood.shrinking.tracing.site import Site
from sapwood.training.loop import evaluate
from sapwood.training.run import Run

ALLOCATIONS = ("uniform", "everywhere", "sensitivity")
SHARES = tuple(n / 10 for n in range(1, 10))  # of a layer's units, at which a scan looks
WHOLE = 1e-9  # 0.1 * 30 units less than 27 is rounding


@dataclass(frozen=True)
class Asked:
    """How many units of the sites `found` are to stay, as the options of methods that remove units say it.

    `ratios`, words for `ratios_of`, count where there are any; else `budget`, words for `budget_of`; else `macs`, where
    it is not 0; else the share `pruned`. `allocation` divides the last three among sites. Widths are multiples of
    `multiple` where some go.
    """

    found: Sequence[Site]
    pruned: float
    ratios: str
    macs: float
    allocation: str
    multiple: int
    budget: str = ""

    def __post_init__(self) -> None:
        pruned, macs, ratios, multiple = self.pruned, self.macs, self.ratios, self.multiple
        if budget_of(self.budget) and (ratios or macs):
            raise InputError(f"budget={self.budget!r} with {ratios=}, {macs=}: give one of the three")
        if not 0 <= pruned < 1 or not 0 <= macs <= 1 or multiple < 1 or (ratios and macs):
            raise InputError(f"{pruned=}, {macs=}, {ratios=}, {multiple=}: need a share in [0, 1), one in [0, 1], "
                             "ratios or macs, not both, and a multiple of 1 or more")  # fmt: skip
        refuse_unless("allocation", self.allocation, ALLOCATIONS)
        ratios_of(ratios or float(pruned), self.found)

    def keep(self, run: Run, scores: Scores) -> Keep:
        """Which units stay by these scores."""
        budget = budget_of(self.budget)
        if self.ratios or (self.allocation == "uniform" and not self.macs and not budget):
            return by_ratios(scores, ratios_of(self.ratios or float(self.pruned), self.found), multiple=self.multiple)
        ranks = allocated(run, scores, self.found, self.allocation)
        if budget:
            return within(run, ranks, self.found, budget, multiple=self.multiple)
        if self.macs:
            return by_macs(run, ranks, self.found, self.macs, multiple=self.multiple)
        return by_share(ranks, self.pruned, multiple=self.multiple)

    def widths(self, run: Run) -> dict[str, int]:
        """How many units of each site stay, whichever these are: the allocation is "uniform".

        To be asked before anything is trained. Remembered where milliseconds were measured.
        """
        if not self.found and not self.macs and not self.budget:
            return {}
        every = {site.name: torch.arange(float(site.units)) for site in self.found}
        found = run.remember("widths", lambda: self.keep(run, every)) if self.budget else self.keep(run, every)
        return {name: int(kept.sum()) for name, kept in found.items()}


def removable(run: Run, streams: bool = False) -> tuple[Site, ...]:
    """The sites whose units one layer makes; with `streams` those of residual streams as well. InputError: none."""
    every = sites(run.apart.several)
    found = tuple(site for site in every if streams or len(list(site.at("makes"))) == 1)
    if not found:
        raise InputError(f"{type(run.model).__name__} has no units that one layer makes; streams=True takes the others")
    return found


def ratios_of(words: str | float, found: Sequence[Site]) -> dict[str, float]:
    """The share of each site's units that goes, {site: ratio}: one number for all, or words such as "layer1=0.6 fc=0".

    A word names a site, or modules around it by the first parts of its name; the longest one that fits counts, and
    sites that none names lose nothing. InputError names a word that is no such thing.
    """
    given: dict[str, float] = {"": words} if isinstance(words, float) else {}
    for word in words.split() if isinstance(words, str) else ():
        name, _, number = word.rpartition("=")
        try:
            given[name] = float(number)
        except ValueError as error:
            raise InputError(f"ratio {word!r} is none; write a site's name and a number, as in layer1=0.5") from error
        if name and not any(_fits(name, site.name) for site in found):
            raise InputError(f"ratio {word!r} is of no site; known: {', '.join(site.name for site in found)}")
    for name, ratio in given.items():
        if not 0 <= ratio < 1:
            raise InputError(f"the ratio of {name or 'all sites'} is {ratio}; it is the share that goes, in [0, 1)")
    named = {site.name: [name for name in given if _fits(name, site.name)] for site in found}
    return {site: given[max(names, key=len)] if names else 0.0 for site, names in named.items()}


def by_ratios(scores: Mapping[str, Tensor], ratios: Mapping[str, float], *, multiple: int = 1) -> Keep:
    """int(units * (1 - ratio)) of each site stay, at least one, rounded down to a multiple where some go."""
    counts = {}
    for name, s in scores.items():
        units, count = len(s), int(len(s) * (1 - ratios[name]) + WHOLE)
        floor = min(multiple, units)
        counts[name] = count if count == units else max(floor, count - count % multiple)
    return select.by_count(scores, counts)


def by_macs(run: Run, scores: Scores, found: Sequence[Site], share: float, *, multiple: int = 1) -> Keep:
    """The fewest removals, lowest scores first, after which `share` of the run's first multiply-adds are left or less.

    Noted: the share that is left, `macs_left`.
    """
    cost, whole = macs_of(run.apart.one, found), run.reference.macs
    keep = fewest(scores, cost, share * whole, multiple=multiple)
    run.note(macs_left=float(cost(keep)) / whole)
    return keep


def by_share(scores: Scores, share: float, *, multiple: int = 1) -> Keep:
    """int(share * units) of all units go in one ranking, one of each site stays; more go by rounding widths."""
    least = {name: min(multiple, len(s)) for name, s in scores.items()}
    room = sum(len(s) - least[name] for name, s in scores.items())
    count = min(int(share * sum(map(len, scores.values())) + WHOLE), room)
    kept = {name: int(each.sum()) for name, each in select.drop(scores, count, least=least).items()}
    return by_ratios(scores, {name: 1 - n / len(scores[name]) for name, n in kept.items()}, multiple=multiple)


def allocated(run: Run, scores: Scores, found: Sequence[Site], how: str) -> Scores:
    """Scores by which one ranking over all sites cuts as `how` says; the order inside of a site stays.

    "uniform": the same share of each site; "everywhere": by the scores as they are; "sensitivity": first where least is
    lost when the site alone loses as many.
    """
    refuse_unless("allocation", how, ALLOCATIONS)
    if how == "everywhere":
        return scores
    if how == "uniform":
        return {name: below(s) for name, s in scores.items()}
    return by_loss(scores, dict.fromkeys(scores, SHARES), sensitivity(run, scores, found))


def sensitivity(
    run: Run, scores: Scores, found: Sequence[Site], *, shares: Sequence[float] = SHARES
) -> dict[str, list[float]]:
    """What the goal on the validation split loses when one site alone loses such shares of its units, {site: [shares]}.

    Above 0 is worse. Units count as 0, lowest scores first; the network is left as it was.
    """
    goal, lost = run.task.goal, dict[str, list[float]]()
    whole = evaluate(run)[goal.metric]
    for name, s in scores.items():
        lost[name] = []
        for share in shares:
            keep = by_ratios({name: s}, {name: share})
            with seen_through(run.model, spread(run.model, keep, found)):
                value = evaluate(run)[goal.metric]
            lost[name].append(whole - value if goal.up else value - whole)
    return lost


def _fits(name: str, site: str) -> bool:
    return name in ("", site) or site.startswith((f"{name}.", f"{name}#"))
