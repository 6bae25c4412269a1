"""Scanning: one site after another loses units, and a function of the user's says what the network is then worth."""

import math
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from sapwood.called import checked
from sapwood.currency import Scores
from sapwood.errors import InputError
from sapwood.export.asking import Evaluate, asked_of
from sapwood.export.caches import without_caches
from sapwood.export.narrow import passed_by
from sapwood.export.pruned import why
from sapwood.export.scan import Sensitivity
from sapwood.export.scan_kept import Kept, in_order, kept_of
from sapwood.export.shown import Looked, Loss
from sapwood.export.worth import NORM, By, worth
from sapwood.masking.holding import seen_through
from sapwood.measure.example import Example
from sapwood.selection import select
from sapwood.shrinking.cutting.units import spread
from sapwood.shrinking.finding import couplings
from sapwood.shrinking.tracing.anatomy import Anatomy
from sapwood.shrinking.tracing.site import Site

SHARES = (0.8, 0.6, 0.4, 0.2)  # of a site's units that are kept


@checked(
    evaluate="a function of a model that returns a number",
    by="a criterion, its name, scores by parameter or by site, or another scan",
    shares="a list of shares to keep, each above 0 and below 1",
    cache="a path",
)
def sensitivity(
    model: nn.Module,
    example: Example,
    evaluate: Evaluate,
    *,
    by: By = NORM,
    evidence: Looked | None = None,
    loss: Loss | None = None,
    shares: Sequence[float] = SHARES,
    higher: bool = True,
    lossy: bool = False,
    cache: Path | str | None = None,
) -> Sensitivity:
    """Measure what each site's units are worth to the whole: one site at a time keeps only some of its units.

    `evaluate(model)` returns a number, say accuracy on validation data; with `higher=False` a lower one is better. It
    is asked once for the whole network, then for each site and each of `shares`, the part of the units that stays, at
    least one; the units with the lowest scores go first. They count as 0: nothing is rebuilt, and the model is left as
    it was. `by`, `evidence`, `loss` and `lossy` are those of `prune`, which takes the answer in turn as `by=`.

    With a `cache`, the name of a file, every number is written as soon as it is there, so that an interrupted scan goes
    on, and one that is called again asks for the whole network only. Numbers are those of the same parameters and
    buffers, and of the same units gone; where the whole network gives another number than before, as with other data,
    all are asked anew.

    InputError: shares outside (0, 1), a network of which nothing can go, an answer that is no finite number.
    *Paper:* Li et al. 2017 (arXiv 1608.08710), section 3.2. *Differs:* any site and criterion; the ratios are read off.

    >>> net, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(1, 4)
    >>> scan = sensitivity(net, x, lambda network: float(network(x).sum()), shares=[0.5])
    >>> list(scan.values)
    ['0']
    """
    tried = _tried(shares)
    with without_caches(model):
        anatomy = Anatomy(model, example)
        found = couplings(anatomy, lossy=lossy)
        sites = tuple(site for site in found.sites if site.units > 1)
        if not sites:
            raise InputError(f"nothing of {type(model).__name__} can be removed: {'; '.join(why(found.pinned)[:2])}")
        scores = worth(
            model, sites, by, evidence, passed_by=passed_by(anatomy, sites) if by == NORM else (), loss=loss,
            example=anatomy.example,
        )  # fmt: skip
    sites = tuple(site for site in sites if site.name in scores)
    whole = _finite(asked_of(evaluate, model))
    kept = kept_of(None if cache is None else Path(cache), model, whole)
    counts = {site.name: tuple(max(1, round(share * site.units)) for share in tried) for site in sites}
    values = {site.name: _scanned(model, site, scores, counts[site.name], evaluate, kept) for site in sites}
    return Sensitivity(whole, tried, values, counts, {name: scores[name] for name in values}, higher, 1 + kept.added)


def _scanned(
    model: nn.Module, site: Site, scores: Scores, counts: Sequence[int], evaluate: Evaluate, kept: Kept
) -> tuple[float, ...]:
    """What is given with so many units of one site, each number asked for once."""
    mine, found = {site.name: scores[site.name]}, {site.units: kept.whole}
    name = in_order(site.name, scores[site.name].argsort(descending=True, stable=True))
    for count in dict.fromkeys(counts):
        if count not in found and (value := kept.get(name, count)) is not None:
            found[count] = value
        elif count not in found:
            keep = select.by_count(mine, {site.name: count})
            with seen_through(model, spread(model, keep, [site])):
                found[count] = _finite(asked_of(evaluate, model))
            kept.add(name, count, found[count])
    return tuple(found[count] for count in counts)


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise InputError(f"evaluate(model) gave {value}; it must give a finite number")
    return value


def _tried(shares: Sequence[float]) -> tuple[float, ...]:
    """The shares, each once, the largest first."""
    for share in shares:
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share < 1:
            raise InputError(f"a share is {share!r}; give the part of a site's units that is kept, above 0 and below 1")
    if not shares:
        raise InputError("shares is empty; give the parts of a site's units to keep, such as [0.75, 0.5, 0.25]")
    return tuple(sorted({float(share) for share in shares}, reverse=True))
