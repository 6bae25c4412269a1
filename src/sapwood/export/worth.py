"""Worth: scores of units by any criterion, comparable between units of all kinds."""

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor, nn

from sapwood.criteria import CRITERIA, UNIT_CRITERIA
from sapwood.currency import Scores
from sapwood.errors import InputError, unknown
from sapwood.export.offers import channels
from sapwood.export.scan import Sensitivity
from sapwood.export.shown import Looked, Loss, of_units, seen_by
from sapwood.measure.example import Example
from sapwood.scoring.criterion import Criterion, moduli, score
from sapwood.scoring.unit_criterion import UnitCriterion
from sapwood.shrinking.cutting.units import Touching, per_unit
from sapwood.shrinking.tracing.site import Site

By = str | Criterion | UnitCriterion | Mapping[str, Tensor] | Sensitivity
NORM = "norm"
TOUCHING: dict[str, Touching] = {"output": "makes", "input": "reads"}


def worth(
    model: nn.Module, sites: Sequence[Site], by: By, evidence: Looked | None = None, *, whole: Collection[str] = (),
    passed_by: Collection[str] = (), loss: Loss | None = None, example: Example | None = None,
) -> Scores:  # fmt: skip
    """What the units of `sites` are worth, {site: float64 [units]}, higher stays; sites without scores are left out.

    `by` is "norm" (see `norms`; `passed_by` names the sites in branches), a criterion, the name of one, or scores that
    were worked out elsewhere: of weights by parameter name, or of units by site name, which are taken as they are; or a
    scan, whose `ranks` are such scores. A unit is worth the sum over all weights that make it, hold a number for it or
    read it, divided by the channels that it has: a head with 64 is compared with a neuron channel by channel. By a
    criterion of outputs it is worth the mean over what makes it, by one of inputs over what reads it. What a criterion
    of units says is taken as it is. `evidence` is what `observe` gathers, or the batches that it would look at; `loss`
    is its `loss`, `example` what the model is called with. Scores of the sites named in `whole`, of which nothing may
    go, are not asked about.
    """
    if isinstance(by, Mapping | Sensitivity):
        return _given(model, sites, by.ranks if isinstance(by, Sensitivity) else by, whole)
    if by == NORM:
        return norms(model, sites, passed_by)
    criterion = called(by) if isinstance(by, str) else by
    if isinstance(criterion, UnitCriterion):
        return of_units(criterion, by, model, sites, evidence, loss, example)
    if not isinstance(criterion, Criterion):
        raise InputError(f"by is {by!r}; give a criterion, its name, scores by parameter or by site, or a scan")
    seen = seen_by(model, criterion.needs, evidence, loss)
    scores = score(model, criterion, seen, only=list(seen) if criterion.needs and seen else _matrices(model))
    if criterion.per == "weight":
        return _summed(sites, scores)
    return per_unit(_wide(scores), sites, touching=TOUCHING[criterion.per], reduce=torch.mean)


def called(name: str) -> Criterion | UnitCriterion:
    """The criterion of that name; of two, the one of weights. InputError names those that there are."""
    every: dict[str, Criterion | UnitCriterion] = {**UNIT_CRITERIA, **CRITERIA}
    if name not in every:
        raise unknown("criterion", name, [NORM, *every])
    return every[name]


def looks_at_data(name: str) -> bool:
    """Whether the criterion of that name needs batches; "norm" does not."""
    if name == NORM:
        return False
    found = called(name)
    return bool(found.needs) if isinstance(found, Criterion) else found.of == "outputs" or found.backward


def norms(model: nn.Module, sites: Sequence[Site], passed_by: Collection[str] = ()) -> Scores:
    """The L2 norm of all weights that touch a unit, by channel of it; of a site that all has to pass, its share.

        s_u = |w_u|, the norm over the weights that make u, hold a number for it or read it
        of a site that is not in `passed_by`:  s_u = T |w_u| / sum of |w_v| over its units v
        T: the largest such sum of these sites

    So narrow layers, whose units have no more weight than those of wide ones and carry more each, are worth as much as
    wide ones together. In the branch of an addition norms are compared as they are: the addition goes on without it.
    """
    squares = {name: moduli(model.get_parameter(name).detach().cpu()).double().square() for name in _matrices(model)}
    found = {name: each.sqrt() for name, each in _summed(sites, squares).items()}
    whole = {s.name: float(found[s.name].sum()) * channels(s) for s in sites if s.name in {*found} - {*passed_by}}
    most = max(whole.values(), default=0.0)
    return {name: each * (most / whole[name] if whole.get(name) else 1.0) for name, each in found.items()}


def _summed(sites: Sequence[Site], scores: Mapping[str, Tensor]) -> Scores:
    """The sum over all weights that touch a unit, by channel of it."""
    found = per_unit(_wide(scores), sites, touching="both")
    return {site.name: found[site.name] / channels(site) for site in sites if site.name in found}


def _given(model: nn.Module, sites: Sequence[Site], scores: Mapping[str, Tensor], whole: Collection[str]) -> Scores:
    """Scores of weights summed by unit, or scores of units as they are."""
    parameters, units = dict(model.named_parameters()), {site.name: site.units for site in sites}
    if scores and all(name in parameters and s.shape == parameters[name].shape for name, s in scores.items()):
        return _summed(sites, scores)
    scores = {name: each for name, each in scores.items() if name in units or name not in whole}
    _refuse_other_weights({n: s for n, s in scores.items() if n not in units}, parameters)
    for name, each in scores.items():
        if name not in units:
            raise unknown("parameter or site in by", name, {*parameters, *units})
        if each.shape != (units[name],):
            raise InputError(f"by gives site {name!r} scores of shape {tuple(each.shape)}; it has {units[name]} units")
    return _wide(scores)


def _refuse_other_weights(scores: Mapping[str, Tensor], parameters: Mapping[str, Tensor]) -> None:
    """InputError where scores are of parameters and not shaped like them, or where only some are of parameters."""
    for name, each in scores.items():
        if name in parameters and each.shape != parameters[name].shape:
            shape = tuple(parameters[name].shape)
            raise InputError(f"by gives parameter {name!r} scores of shape {tuple(each.shape)}; it has {shape}")
    if of := [name for name in scores if name in parameters]:
        raise InputError(f"by gives scores by parameter, as {of[0]!r}, and others by site; give one kind")


def _wide(scores: Mapping[str, Tensor]) -> Scores:
    """In float64 on the CPU, so that sums are the same wherever the model is."""
    return {name: each.detach().cpu().double() for name, each in scores.items()}


def _matrices(model: nn.Module) -> list[str]:
    """The parameters that a criterion of weights can score."""
    return [name for name, parameter in model.named_parameters() if parameter.dim() > 1]
