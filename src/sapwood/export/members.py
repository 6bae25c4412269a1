"""Members: what a criterion of units says of sites, member by member.

A site's members are the layers that make its units, the norms that scale them, or the places where they are scaled
last (`shrinking.scaling`). In a chain of layers that is one each; of a residual stream there is one for every branch,
or for every layer that reads it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from sapwood import criteria
from sapwood.currency import Scores
from sapwood.errors import InputError, picked, refuse_unless
from sapwood.gates.point import Point, Points, layers_of
from sapwood.scoring.criterion import moduli
from sapwood.scoring.modes import evaluating
from sapwood.scoring.unit_criterion import Group, Norm, UnitCriterion
from sapwood.shrinking.cutting.units import per_unit
from sapwood.shrinking.scaling import points
from sapwood.shrinking.tracing.site import Site, Slot

Member = tuple[str, int]  # (site, which of its members)
GROUPS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda s_MU: s_MU.mean(0),
    "sum": lambda s_MU: s_MU.sum(0),
    "max": lambda s_MU: s_MU.amax(0),
}
NORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": torch.ones_like,
    "mean": torch.mean,
    "max": torch.max,
    "l2": torch.linalg.vector_norm,
}
NORM_TYPES = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class Asks(Protocol):
    """How a model is asked about batches; a `Task` says it. A batch has a length, its samples."""

    @property
    def examples(self) -> Any:
        """What the model is called with, of two samples or more."""

    @property
    def forward(self) -> Callable[[nn.Module, Any], Any]:
        """(model, batch) -> the model's outputs."""

    @property
    def loss(self) -> Callable[[nn.Module, Any, Any], Tensor]:
        """(model, batch, outputs) -> the mean over what the batch counts."""

    @property
    def count(self) -> Callable[[Any], float]:
        """What the loss of a batch is a mean over."""


def unit_scores(
    by: str | UnitCriterion,
    model: nn.Module,
    sites: Sequence[Site],
    task: Asks,
    batches: Iterable[Any] = (),
    *,
    group: Group | None = None,
    norm: Norm | None = None,
) -> Scores:
    """What a criterion, or the one so called in UNIT_CRITERIA, says of units: {site: float64 [units]}. Higher stays.

    `batches` are what those look at that need outputs or gradients; the losses are the task's. The model runs in
    evaluation mode and is left as it was. `group`: how the members of a site become one; `norm`: by what of its own a
    site's scores are divided; else the criterion's. A site with no member is left out: its units stay.
    InputError if no site has one, or if samples are needed and there are none.
    """
    judge = picked("unit criterion", by, criteria.UNIT_CRITERIA) if isinstance(by, str) else by
    group, norm = group or judge.group, norm or judge.norm
    refuse_unless("group", group, GROUPS)
    refuse_unless("norm", norm, NORMS)
    looking = _given if judge.of == "outputs" else _changed if judge.backward else _held
    found: dict[str, list[Tensor]] = {}
    for (name, _), score in looking(judge, model, sites, task, batches).items():
        found.setdefault(name, []).append(score)
    if not found:
        raise InputError(f"no site has anything that criterion {by!r} could look at ({judge.of}); choose another one")
    grouped = {name: GROUPS[group](torch.stack(scores)) for name, scores in found.items()}
    return {name: _divided(score, NORMS[norm](score)) for name, score in grouped.items()}


def _held(judge: UnitCriterion, model: nn.Module, sites: Sequence[Site], *_: object) -> dict[Member, Tensor]:
    """Scores of the weights themselves."""
    return _of_weights(judge, {name: moduli(p.detach()) for name, p in model.named_parameters()}, model, sites)


def _changed(
    judge: UnitCriterion, model: nn.Module, sites: Sequence[Site], task: Asks, batches: Iterable[Any]
) -> dict[Member, Tensor]:
    """The mean over batches of scores of weights times their gradients."""
    sums, count, named = dict[Member, Tensor](), 0, dict(model.named_parameters())
    for batch in batches:
        with evaluating(model), torch.enable_grad(), _learning(named.values()):
            loss = task.loss(model, batch, task.forward(model, batch))
            slopes = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
        pairs = zip(named.items(), slopes, strict=True)
        seen = {name: p.detach() * g if g is not None else torch.zeros_like(p) for (name, p), g in pairs}
        _add(sums, _of_weights(judge, seen, model, sites))
        count += 1
    return {member: s / _some(count) for member, s in sums.items()} or _none(count)


def _given(
    judge: UnitCriterion, model: nn.Module, sites: Sequence[Site], task: Asks, batches: Iterable[Any]
) -> dict[Member, Tensor]:
    """The mean over samples of scores of what units give where they are scaled last."""
    at, sums, count = points(model, sites, task.examples), dict[Member, Tensor](), 0
    for batch in batches:
        for member, point, y in _watched(judge.backward, model, at, task, batch):
            _add(sums, {member: judge.score(_laid(y, point, member[0]))})
        count += len(batch)
    return {member: s / _some(count) for member, s in sums.items()} or _none(count)


def _of_weights(judge: UnitCriterion, tensors: Scores, model: nn.Module, sites: Sequence[Site]) -> dict[Member, Tensor]:
    norms = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, NORM_TYPES)}
    found = {}
    for site in sites:
        slots = [slot for slot in _members(judge, site, norms) if slot.tensor in tensors]
        for number, slot in enumerate(slots):
            alone = replace(site, slots=(slot,))
            scores = per_unit(tensors, [alone], touching="both", reduce=lambda w_UR, _: judge.score(w_UR))
            found[site.name, number] = scores[site.name].double()
    return found


def _members(judge: UnitCriterion, site: Site, norms: set[str]) -> Iterator[Slot]:
    """The places of a site that a criterion looks at, one by one."""
    if judge.of == "makes":
        return site.at("makes")
    scales = (slot for slot in site.at("holds") if slot.tensor in norms)
    if judge.of == "norms":
        return scales
    weights = (s for s in site.slots if s.tensor not in norms and s.tensor.rpartition(".")[2].startswith("weight"))
    return iter((*weights, *scales))


def _watched(
    backward: bool, model: nn.Module, at: Points, task: Asks, batch: Any
) -> Iterator[tuple[Member, Point, Tensor]]:
    """What the units give at each member of a site in one pass; times its gradient, if asked for."""
    places = [((name, n), p) for name, its in at.items() for n, p in enumerate(_layers(name, its))]
    seen: list[tuple[Member, Point, Tensor, Tensor]] = []
    with ExitStack() as hooks, evaluating(model), torch.set_grad_enabled(backward):
        for member, point in places:
            layer = model.get_submodule(point.layer or "")
            look = partial(_look, seen, member, point)
            hook = layer.register_forward_hook if point.side == "outputs" else layer.register_forward_pre_hook
            hooks.callback(hook(look).remove)
        outputs = task.forward(model, batch)
        if not backward:
            return iter([(member, point, y) for member, point, y, _ in seen])
        loss = task.loss(model, batch, outputs) * task.count(batch)
        slopes = torch.autograd.grad(loss, [gate for *_, gate in seen])  # of a gate of 1: y times its gradient
    return iter([(member, point, g) for (member, point, _, _), g in zip(seen, slopes, strict=True)])


def _look(
    seen: list[tuple[Member, Point, Tensor, Tensor]], member: Member, point: Point, layer: nn.Module, *given: object
) -> object:
    """A hook on what a layer gives, or before it on what it is given: noted, and multiplied by a gate of 1."""
    y = given[-1] if point.side == "outputs" else given[0][0]  # type: ignore[index]
    assert isinstance(y, Tensor)
    gate = torch.ones_like(y, requires_grad=torch.is_grad_enabled())
    seen.append((member, point, y.detach().clone(), gate))
    gated = y * gate
    return gated if point.side == "outputs" else (gated, *given[0][1:])  # type: ignore[index]


def _layers(name: str, its: Sequence[Point]) -> list[Point]:
    """The members of a site, in order; a weight and its bias are one."""
    if any(point.layer is None for point in its):
        raise InputError(
            f"the units of site {name!r} are scaled where no layer of torch's gives them, so their outputs cannot be "
            "seen; score them by their weights, or leave this site out"
        )
    return list(layers_of(its).values())


def _laid(y: Tensor, point: Point, name: str) -> Tensor:
    """[N, U, ...P]: units behind samples; where a unit has several positions, they are one more dimension of places."""
    here = (point.unit_of >= 0).nonzero().flatten()
    order = here[point.unit_of[here].argsort(stable=True)]
    counts = torch.bincount(point.unit_of[here])
    if not bool((counts == counts[0]).all()):
        raise InputError(f"the units of site {name!r} have different numbers of outputs; score them by their weights")
    units = y.movedim(point.axis, 1)[:, order.to(y.device)]
    each = int(counts[0])
    return units if each == 1 else units.reshape(len(y), -1, each, *units.shape[2:])


def _learning(parameters: Iterable[nn.Parameter]) -> ExitStack:
    """Give gradients to all parameters for a while, frozen ones too."""
    stack = ExitStack()
    for p in parameters:
        stack.callback(p.requires_grad_, p.requires_grad)
        p.requires_grad_()
    return stack


def _add(sums: dict[Member, Tensor], more: dict[Member, Tensor]) -> None:
    for member, s in more.items():
        sums[member] = sums[member] + s.double() if member in sums else s.double()


def _some(count: int) -> int:
    return max(count, 1)


def _none(count: int) -> dict[Member, Tensor]:
    if not count:
        raise InputError("this criterion looks at samples; give unit_scores() batches")
    return {}


def _divided(score: Tensor, by: Tensor) -> Tensor:
    return score / torch.where(by > 0, by, 1.0)
