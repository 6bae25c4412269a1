"""One call: what `sapwood.prune` takes out of a network, as a method, so that studies can compare its criteria.

    the lowest scores of the whole network go first, until `macs` of the multiply-adds are left or less

Paper: none; each criterion names its own. Widths by 8 and thin branches that go whole are rules of `prune`.
Differs: nothing known from `prune` with the target `macs`.
"""

from collections.abc import Iterator

import torch

from sapwood.criteria import CRITERIA, UNIT_CRITERIA
from sapwood.currency import Keep, Scores
from sapwood.errors import InputError, picked
from sapwood.export.build import emptied
from sapwood.export.offers import Offer, offer_of
from sapwood.export.search import Search
from sapwood.export.targets import target_of
from sapwood.export.worth import NORM, worth
from sapwood.methods.parts.phases import tuned
from sapwood.methods.parts.ranking import drawn, unit_scores
from sapwood.shrinking.depth import remove_branches
from sapwood.training.declared import declares
from sapwood.training.draws import luck
from sapwood.training.loop import Moment, train
from sapwood.training.run import Run

LUCK = "luck"
OF_WEIGHTS = {name: each for name, each in CRITERIA.items() if not each.needs}


@declares("rebuilds")
def one_call(
    run: Run, *, macs: float = 0.5, by: str = NORM, multiple: int = 8, uniform: bool = False, keep: str = "",
    samples: int = 1280, epochs: int = 0, tune: int = 40, rate: float = 0.01,
) -> Iterator[Moment]:  # fmt: skip
    """Trains for `epochs`, takes units out at once, trains on for `tune` epochs at `rate` times the learning rate.

    `macs` is the share of the multiply-adds that may be left; with 1 the network stays as it is, and is trained on.
    `by`: a criterion of units, which may look at `samples`; one of weights; or "luck", a control. Widths that change
    become multiples of `multiple`; `uniform`: every site loses the same share; `keep`: names of what stays whole.
    """
    if not 0 < macs <= 1 or rate < 0 or samples < 1:
        raise InputError(f"{macs=}, {rate=}, {samples=}: need a share above 0 and up to 1, a factor of 0 or more, and "
                         "at least one sample")  # fmt: skip
    if by not in (LUCK, NORM, *UNIT_CRITERIA):
        picked("criterion", by, OF_WEIGHTS)
    yield from train(run, epochs=epochs)
    if macs < 1:
        smaller(run, macs, by, samples, offer_of(run.apart.one, keep=keep.split(), multiple=multiple), uniform)
    yield from tuned(run, epochs=tune, rate=rate)


def smaller(run: Run, macs: float, by: str, samples: int, offer: Offer, uniform: bool) -> None:
    """Go on with the network that `prune` would give."""
    offer = offer.without_branches() if uniform else offer

    def chosen() -> Keep:
        scores = scored(run, offer, by, samples)
        limit = target_of(macs=macs * run.reference.macs)
        return Search(run.apart.one, offer.only(scores), scores, uniform).within(limit)

    keep = run.remember("stays", chosen)
    gone = emptied(keep, offer.narrow)
    run.shrink({name: kept for name, kept in keep.items() if name not in gone}, offer.sites)
    if gone:
        run.become(remove_branches(run.apart.one, gone.values()).model)


def scored(run: Run, offer: Offer, by: str, samples: int) -> Scores:
    """What the units on offer are worth."""
    if by == LUCK:
        return {
            s.name: torch.rand(s.units, generator=luck(run.seed, f"luck of {s.name}")).double() for s in offer.sites
        }
    if by in UNIT_CRITERIA:
        return unit_scores(by, run.model, offer.sites, run.task, drawn(run, samples, "one_call"))
    return worth(run.model, offer.sites, by, whole=offer.whole, passed_by=offer.passed_by)
