"""Units: from scores of weights to scores of units, and from units that stay to masks of weights."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from sapwood.called import checked
from sapwood.currency import Masks, Scores
from sapwood.errors import InputError, refuse_unless, unknown
from sapwood.scoring.layout import is_layer, matrix
from sapwood.shrinking.cutting.cut import leaving
from sapwood.shrinking.tracing.site import Role, Site, Slot

Touching = Literal["makes", "reads", "holds", "both"]


@checked()
def per_unit(
    scores: Mapping[str, Tensor],
    sites: Sequence[Site],
    *,
    touching: Touching = "makes",
    reduce: Callable[[Tensor, int], Tensor] = torch.sum,
) -> Scores:
    """Scores of units, {site name: [units]}, from scores of weights, {parameter name: shaped like it}.

    The score of a unit is `reduce(s, 1)` of all scores at its places: of the weights that make it, that read it, or
    that hold a number for it (depthwise filters, norms, biases), or of all of these ("both"). With the sum it is
    additive: per_unit(a + b) = per_unit(a) + per_unit(b). torch.mean does not favour units with many weights. A
    site none of whose weights has scores is left out: its units stay. *Paper:* Fang et al. 2023 (DepGraph,
    arXiv 2301.12900): the sum of squares over both is the score of a group. *Differs:* their code takes the mean over
    tensors, and divides by the group's mean.

    >>> net, x = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)), torch.rand(1, 4)
    >>> sizes = {name: p.detach().abs() for name, p in net.named_parameters()}
    >>> per_unit(sizes, sites(net, x), touching="both")["0"].shape
    torch.Size([6])
    """
    refuse_unless("touching", touching, ("makes", "reads", "holds", "both"))
    found = {}
    for site in sites:
        slots = [slot for slot in (site.slots if touching == "both" else site.at(touching)) if slot.tensor in scores]
        if slots:
            found[site.name] = _reduced(scores, site, slots, reduce)
    if not found:
        raise InputError(
            f"no site has a weight with scores that {'touches' if touching == 'both' else touching} its units; scores "
            f"are for {', '.join(map(repr, list(scores)[:3])) or 'nothing'}; give scores by the parameters' names"
        )
    return found


@checked(keep="a dict, {site: bool tensor, True where a unit is kept}")
def spread(
    model: nn.Module,
    keep: Mapping[str, Tensor],
    sites: Iterable[Site],
    *,
    roles: Collection[Role] = ("makes", "reads", "holds", "both"),
) -> Masks:
    """Masks of all parameters in which units of the sites sit: False wherever a unit sits that `keep` removes.

    Masked so, units count as 0 wherever they are read: the network computes what `shrink(..., removed="zeroed")` gives.
    `roles` masks the units in some of these places only: with ("makes",) filters are zeroed as soft filter pruning
    zeroes them, and norms, biases and what reads the units stay as they are. "both" belongs to "makes" and to "reads".
    """
    wanted = _roles(roles)
    known, parameters = {site.name: site for site in sites}, dict(model.named_parameters())
    masks: Masks = {}
    for name, kept in keep.items():
        if name not in known:
            raise unknown("site in keep", name, known)
        for slot in known[name].slots:
            if slot.tensor in parameters and slot.role in wanted:
                parameter = parameters[slot.tensor]
                mask = masks.setdefault(slot.tensor, torch.ones_like(parameter, dtype=torch.bool))
                mask.movedim(slot.dim, 0)[_leaving(slot, known[name], kept).to(mask.device)] = False
    return masks


def reading_layer(model: nn.Module, site: Site) -> str:
    """The one Linear or Conv layer without groups that reads a site's units; "" if others read them too, or none.

    What it gives can be held against what it gave: its Gram matrix says what each unit is good for.
    """
    reads = list(site.at("reads"))
    if len(reads) != 1 or site.summed or site.lossy:
        return ""
    name, _, leaf = reads[0].tensor.rpartition(".")
    layer = model.get_submodule(name)
    return name if is_layer(layer) and leaf == "weight" and getattr(layer, "groups", 1) == 1 else ""


def unit_of_columns(model: nn.Module, slot: Slot) -> Tensor:
    """Which unit each column of w_OI belongs to, int64 [I]: the positions of a reading slot, one for every weight.

    w_OI is the weight of the slot's layer as a matrix, as `Sight.x_NI` and the Gram matrix number its inputs: of a
    convolution, a channel has as many columns as the kernel has places. -1 where another site sits.
    InputError: the slot is not along the inputs of a Linear or Conv layer without groups.
    """
    layer, weight = model.get_submodule(slot.tensor.rpartition(".")[0]), model.get_parameter(slot.tensor)
    along = [-1 if d == slot.dim else 1 for d in range(weight.dim())]
    units_OI = matrix(layer, slot.unit_of.view(along).expand(weight.shape))
    if slot.role not in ("reads", "both") or not bool((units_OI == units_OI[0]).all()):
        raise InputError(
            f"dimension {slot.dim} of {slot.tensor!r} ({slot.role}) is not along the columns of its layer's matrix; "
            "give a slot that reads, of a Linear or Conv layer without groups"
        )
    return units_OI[0].clone()


def _roles(roles: Collection[str]) -> set[str]:
    for role in roles:
        refuse_unless("role", role, ("makes", "reads", "holds", "both"))
    return set(roles) | ({"both"} if {"makes", "reads"} & set(roles) else set())


def _leaving(slot: Slot, site: Site, kept: Tensor) -> Tensor:
    if kept.dtype is not torch.bool or kept.shape != (site.units,):
        raise InputError(
            f"keep for site {site.name!r} is {kept.dtype} of shape {tuple(kept.shape)}; give torch.bool, one for each "
            f"of its {site.units} units"
        )
    return leaving(slot, kept.cpu())


def _reduced(
    scores: Mapping[str, Tensor], site: Site, slots: Sequence[Slot], reduce: Callable[[Tensor, int], Tensor]
) -> Tensor:
    places = [_places(scores[slot.tensor], site, slot) for slot in slots]
    counts = torch.stack([torch.bincount(unit, minlength=site.units) for unit, _ in places])
    if bool((counts == counts[:, :1]).all()):  # [units, places]: as many for each
        rows = [values[unit.argsort(stable=True).to(values.device)].reshape(site.units, -1) for unit, values in places]
        return reduce(torch.cat(rows, 1), 1)
    each = [
        torch.cat([values[(unit == u).to(values.device)].flatten() for unit, values in places])
        for u in range(site.units)
    ]
    return torch.cat([reduce(values[None], 1) for values in each])


def _places(scores: Tensor, site: Site, slot: Slot) -> tuple[Tensor, Tensor]:
    """The unit of each position on which the site sits, and the scores there, [positions, rest]."""
    if slot.dim >= scores.dim() or scores.shape[slot.dim] != len(slot.unit_of):
        raise InputError(
            f"scores of {slot.tensor!r} have shape {tuple(scores.shape)}, but site {site.name!r} sits on "
            f"{len(slot.unit_of)} positions of its dimension {slot.dim}; give scores shaped like the parameter"
        )
    here = slot.unit_of >= 0
    return slot.unit_of[here], scores.detach().movedim(slot.dim, 0).reshape(len(here), -1)[here.to(scores.device)]
