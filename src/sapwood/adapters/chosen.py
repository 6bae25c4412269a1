"""Chosen: which weights or units of a model stay, by what the user wished."""

from collections.abc import Collection
from dataclasses import dataclass, replace

from torch import Tensor, nn

from sapwood.adapters.due import Due
from sapwood.adapters.small import as_it_was_given, there
from sapwood.criteria import named
from sapwood.currency import Keep, Masks
from sapwood.errors import InputError, refuse_unless
from sapwood.export.offers import belongs, names_in, offer_of
from sapwood.export.search import Search
from sapwood.export.targets import target_of
from sapwood.export.worth import NORM, By, worth
from sapwood.masking import masks as mask
from sapwood.measure.example import Example
from sapwood.scoring.answers import hidden
from sapwood.scoring.criterion import Criterion, score
from sapwood.scoring.evidence import Evidence
from sapwood.scoring.layers import prunable, weights
from sapwood.selection.scope import SCOPES, selected
from sapwood.shrinking.cutting.units import spread
from sapwood.shrinking.tracing.anatomy import Anatomy


@dataclass(frozen=True)
class Wish:
    """By what is chosen, and among what."""

    by: Criterion
    of_units: By
    scope: str
    only: Collection[str] | None
    keep: Collection[str]
    multiple: int
    uniform: bool
    example: Example | None

    def layers(self, model: nn.Module) -> list[str]:
        """The names of the layers whose weights may go: all but the output unless told, and none that `keep` names."""
        kept = names_in(model, self.keep)
        with as_it_was_given(model):
            found = weights(model, self._hidden(model) if self.only is None else self.only)
        free = [each.name for each in found if not any(belongs(each.parameter, name) for name in kept)]
        if not free:
            raise InputError(f"keep names every layer of {type(model).__name__} that could be pruned; name fewer")
        return free

    def _hidden(self, model: nn.Module) -> list[str]:
        try:
            return hidden(model, self.example)
        except InputError as error:
            raise InputError(f"{error} (here: Prune(..., example=...) or Prune(..., only=[...]))") from error

    def watched(self, model: nn.Module, whole_units: bool) -> list[str]:
        """The names of the layers to observe."""
        if self.only is None and whole_units:
            return list(prunable(model))
        return self.layers(model)

    def weights(self, model: nn.Module, layers: list[str], sparsity: float, seen: Evidence, masks: Masks) -> Masks:
        """Masks after which the fraction `sparsity` of the layers' weights is gone; what was gone stays gone."""
        scores = score(model, self.by, seen, only=layers)
        among = {name: masks[name].to(scores[name].device) for name in scores if name in masks}
        total = sum(s.numel() for s in scores.values())
        if sum(m.numel() - int(m.count_nonzero()) for m in among.values()) >= round(sparsity * total):
            return masks
        return masks | selected(scores, sparsity, self.scope, among=among or None)

    def units(self, model: nn.Module, kind: str, amount: float, seen: Evidence, before: Keep) -> tuple[Keep, Masks]:
        """Units that stay, {site: bool [units]}, so that the model meets a target, and the masks that they mean."""
        if self.example is None:
            raise InputError(f"{kind}={amount:g} removes whole units, which are found by a call; give example=")
        with as_it_was_given(model):
            anatomy = Anatomy(model, there(self.example, model))
            offer = offer_of(anatomy, keep=self.keep, multiple=self.multiple)
            found = worth(model, offer.sites, self.of_units, seen, whole=offer.whole, passed_by=offer.passed_by)
            scores = {site: _below(s, before.get(site)) for site, s in found.items()}
            search = Search(anatomy, offer.only(scores), scores, self.uniform)
            keep = mask.intersect(before, search.within(target_of(**{kind: amount})))
            return keep, spread(model, keep, offer.sites)

    def refuse_unreachable(self, model: nn.Module, due: Due, epochs: int | None) -> None:
        """Raise before the training what would be raised after hours of it."""
        amounts = due.amounts(0, epochs)
        if amounts:
            plain = replace(self, of_units=NORM, only=None)
            plain.units(model, due.kind, min(amounts.values()), {}, {})


def wished(by: str | Criterion, scope: str) -> Criterion:
    """The criterion; InputError if a callback cannot use it, or what goes with it."""
    refuse_unless("scope", scope, SCOPES)
    criterion = named(by) if isinstance(by, str) else by
    if not isinstance(criterion, Criterion):
        raise InputError(f"by is {by!r}; give a criterion or its name, such as 'magnitude'")
    if backward := [str(each) for each in criterion.needs if each.backward or each.wants]:
        raise InputError(
            f"by={by!r} needs {', '.join(backward)}, which passes of training do not show; take a criterion of weights "
            "or activations, or observe and hold yourself (docs/trainers.md)"
        )
    return criterion


def _below(scores: Tensor, kept: Tensor | None) -> Tensor:
    """What is gone already comes before all else."""
    return scores if kept is None else scores.masked_fill(~kept.to(scores.device), float(scores.min()) - 1)
