"""Shrink: the same function on fewer numbers. Units are sliced out of a copy; equality is proven before it is given.

Two meanings, never mixed up. *Gated*: a removed unit counts as 0 wherever it is read; the result equals the original
with these units gated. *Folded*: the result equals the original as it is; only units can go that send a constant, which
is added to the biases of those that read it, or that nobody reads.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.optim import Optimizer

from sapwood import masks as mask
from sapwood.errors import InputError, refuse_unless, unknown
from sapwood.shrinking.computed import computed, copied
from sapwood.shrinking.config import configured_
from sapwood.shrinking.cut import Keep, Positions, cut_, own_, positions, sharing
from sapwood.shrinking.equal import gate_, inputs, prove, stirred
from sapwood.shrinking.fit import Attributes, fitted, set_
from sapwood.shrinking.fold import LAST, Staying, folding, silent, unread
from sapwood.shrinking.graph import Example, named_tensors
from sapwood.shrinking.site import Site
from sapwood.shrinking.sites import sites as sites_of

Removed = Literal["gated", "folded"]


@dataclass(frozen=True)
class Shrunk:
    """A smaller network of the same class, which can be trained on."""

    model: nn.Module
    optimizer: Optimizer | None  # for the smaller network, with its memory sliced likewise
    staying: tuple[Staying, ...]  # units that were to go and stay, with the reason; folded only
    difference: float | None  # the largest relative difference seen in float64; None: not checked, or lossy


def shrink(
    model: nn.Module,
    keep: Keep,
    sites: Sequence[Site],
    *,
    example: Example,
    removed: Removed = "gated",
    optimizer: Optimizer | None = None,
    check: bool = True,
) -> Shrunk:
    """A copy of `model` without the units that `keep` ({site name: bool [units]}, True stays) leaves out.

    Equality in evaluation mode is proven in float64 before anything is returned, on the example and on random inputs;
    of gated networks also with noise on every weight, since weights that are 0 would hide what flows into them. Nothing
    is claimed, and `difference` is None, where units of a lossy site go.
    The model and the optimiser are as they were, whatever happens. Sizes written into the model's own code cannot be
    changed: InputError then names the operator and its line; a `config` that the model is built from changes with it
    where numbers can say so, unless `check` is False. In training mode a batch norm sees fewer channels, each
    with its own statistics, so gated networks train alike; folded constants hold in evaluation mode only.
    """
    refuse_unless("removed", removed, ("gated", "folded"))
    _refuse_misfits(model, keep, sites, optimizer, removed == "folded")
    keep, shifts, staying = dict(keep), dict[str, Tensor](), tuple[Staying, ...]()
    if removed == "folded":
        keep, shifts, staying = folding(copied(model).double(), sites, keep, inputs(example))
    plan = _Plan(positions(sites, keep), _attributes(model, sites, keep, example), shifts)
    lossy = any(site.lossy for site in sites if site.name in keep and not bool(keep[site.name].all()))
    proven = _proven(model, sites, keep, plan, example, removed) if check and not lossy else None
    small, memory = deepcopy((model, optimizer), sharing(model))
    own_(plan.made(small, memory), model)
    if check:
        configured_(small, model, plan.places, plan.attributes, example)
    return Shrunk(small, memory, staying, proven)


@dataclass(frozen=True)
class _Plan:
    """All that changes."""

    places: Positions
    attributes: Attributes
    shifts: Mapping[str, Tensor]

    def made(self, model: nn.Module, memory: Optimizer | None = None) -> nn.Module:
        """The model and its optimiser after it, in place."""
        _add_(model, self.shifts)
        cut_(model, self.places, memory)
        set_(model, self.attributes)
        return model


def _proven(
    model: nn.Module, sites: Sequence[Site], keep: Keep, plan: _Plan, example: Example, removed: Removed
) -> float:
    """The largest difference seen; an InputError if there is one."""
    if removed == "folded":
        return _seen(model, copied(model), sites, None, plan, example, inputs(example))
    given, like_it = inputs(example, 1)
    first = _seen(model, copied(model), sites, keep, plan, example, [given])
    return max(first, _seen(model, stirred(model), sites, keep, plan, example, [like_it]))


def _seen(
    model: nn.Module,
    whole: nn.Module,
    sites: Sequence[Site],
    keep: Keep | None,
    plan: _Plan,
    example: Example,
    examples: Sequence[tuple[Any, ...]],
) -> float:
    """The difference between `whole`, a copy of the model that is spoilt here, gated if `keep` says how, and it cut."""
    whole = whole.double()
    small = plan.made(deepcopy(whole, sharing(whole)))  # before the gating: they share what is not cut
    reference = whole if keep is None else gate_(whole, sites, keep)
    return prove(model, reference, small, plan.places, example, examples)


def compact(
    model: nn.Module,
    masks: Mapping[str, Tensor] | None = None,
    *,
    example: Example,
    optimizer: Optimizer | None = None,
) -> Shrunk:
    """A copy of `model`, masked, without the units that its zeros have made useless; the same outputs.

    A unit goes when all its incoming weights are 0 (what it sends, its bias behind the activation, is folded into those
    that read it) or when nobody reads it; its going may make others useless, until nothing changes. Without masks the
    zeros in the weights count, those of torch.nn.utils.prune too: the copy has them for good. `staying` names what
    remains of them, numbered as in the smaller network.
    """
    small, memory = deepcopy((model, optimizer), computed(model))
    _with_zeros_(small)
    mask.apply_(dict(small.named_parameters()), masks or {})
    worst, last = 0.0, dict[str, Staying]()  # a site of one unit is none any more, so it is named here
    while True:
        sites = sites_of(small, example)
        keep = {site.name: ~(silent(small, site) | unread(small, site)) for site in sites}
        size = sum(tensor.numel() for _, tensor in named_tensors(small))
        found = shrink(small, keep, sites, example=example, removed="folded", optimizer=memory)
        small, memory, worst = found.model, found.optimizer, max(worst, found.difference or 0.0)
        last |= {stays.site: stays for stays in found.staying if stays.because == LAST}
        if sum(tensor.numel() for _, tensor in named_tensors(small)) == size:
            return Shrunk(small, memory, tuple(dict.fromkeys((*last.values(), *found.staying))), worst)


def _with_zeros_(model: nn.Module) -> None:
    """Torch's own masks are put on the weights for good: until then the zeros are in what a hook computes only."""
    for module in model.modules():
        for hook in list(module._forward_pre_hooks.values()):
            if isinstance(hook, prune.BasePruningMethod):
                prune.remove(module, hook._tensor_name)  # type: ignore[no-untyped-call]


def _attributes(model: nn.Module, sites: Sequence[Site], keep: Keep, example: Example) -> Attributes:
    """What the model's own modules must know of their new size; nothing where no size could be written down."""
    asked = any(site.asked and not bool(keep[site.name].all()) for site in sites if site.name in keep)
    return fitted(model, sites, keep, example) if asked else {}


@torch.no_grad()
def _add_(model: nn.Module, shifts: Mapping[str, Tensor]) -> None:
    tensors = dict(named_tensors(model))
    for name, shift in shifts.items():
        tensors[name].data = (tensors[name].data.double() + shift).to(tensors[name].dtype)


def _refuse_misfits(
    model: nn.Module, keep: Keep, sites: Sequence[Site], optimizer: Optimizer | None, folded: bool
) -> None:
    known, tensors = {site.name: site for site in sites}, dict(named_tensors(model))
    for name, kept in keep.items():
        if name not in known:
            raise unknown("site in keep", name, known)
        if folded and known[name].lossy:
            raise InputError(f"site {name!r} is lossy, so nothing folded would stay equal; use removed='gated'")
        if kept.dtype is not torch.bool or kept.shape != (known[name].units,):
            raise InputError(
                f"keep for site {name!r} is {kept.dtype} of shape {tuple(kept.shape)}; give torch.bool, one for each "
                f"of its {known[name].units} units, True where it stays"
            )
        if not folded and not bool(kept.any()):
            raise InputError(f"keep leaves no unit of site {name!r}; at least one must stay")
        for slot in known[name].slots:
            if slot.tensor not in tensors or tensors[slot.tensor].shape[slot.dim] != len(slot.unit_of):
                raise InputError(f"site {name!r} does not fit {slot.tensor!r}; find the sites of this network anew")
    mine = {id(p) for p in model.parameters()}
    if optimizer is not None and any(id(p) not in mine for g in optimizer.param_groups for p in g["params"]):
        raise InputError("the optimiser trains parameters that are not the model's; give the one that trains it")
