"""Search: which units of a network stay so that a target is met."""

import math
from dataclasses import dataclass
from functools import cached_property

from sapwood.currency import Keep, Scores
from sapwood.errors import InputError
from sapwood.export.choices import cheapest, guarded, ranked, uniform
from sapwood.export.offers import Offer
from sapwood.export.pruned import why
from sapwood.export.targets import Target
from sapwood.shrinking.cost import Cost, bytes_of, macs_of, parameters_of
from sapwood.shrinking.tracing.anatomy import Anatomy


@dataclass(frozen=True)
class Search:
    """A network, what may be removed from it, and what that is worth."""

    anatomy: Anatomy
    offer: Offer
    scores: Scores
    uniform: bool

    def within(self, target: Target) -> Keep:
        """What stays so that a count is met; InputError if it cannot be."""
        cost = self.cost(target.kind)
        whole, least = float(cost({})), float(cost(cheapest(self.scores, self.offer)))
        limit = target.limit(whole)
        if least > limit:
            raise InputError(
                f"{target} cannot be met: {least:,.0f} of {whole:,.0f} {target.kind} ({100 * least / whole:.1f} %) "
                f"remain when all is removed that may be; {_enough(target, least, whole)}, or a smaller multiple=; "
                f"{self.stays()}"
            )
        return self.chosen(cost, limit)

    def chosen(self, cost: Cost, limit: float) -> Keep:
        """The lowest scores go until the cost is at most `limit`."""
        if self.uniform:
            return uniform(self.scores, cost, limit, self.offer)
        return ranked(guarded(self.scores, self.offer), cost, limit, self.offer)

    def cost(self, kind: str) -> Cost:
        """What is counted."""
        return {"macs": macs_of, "parameters": parameters_of, "bytes": bytes_of}[kind](self.anatomy, self.offer.sites)

    @cached_property
    def macs(self) -> Cost | None:
        """Multiply-adds, unless an operator's cannot be counted."""
        try:
            return self.cost("macs")
        except InputError:
            return None

    @property
    def work(self) -> Cost:
        """What time is taken to depend on, for want of knowing better: MACs, or parameters."""
        return self.macs or self.cost("parameters")

    def stays(self) -> str:
        """The first reasons why units stay."""
        return "; ".join(f"stays: {said}" for said in why(self.offer.stays)[:2])


def _enough(target: Target, least: float, whole: float) -> str:
    """The nearest target that can be met, as a user would type it."""
    if not target.is_share:
        return f"{target.kind}={math.ceil(least)} can be met"
    share = math.ceil(1000 * least / whole) / 1000
    return f"{target.kind}={share:g} can be met" if share < 1 else "next to nothing may be removed"
