"""Shrink: the same function on fewer numbers. Units are sliced out of a copy; equality is proven before it is given.

Two meanings, never mixed up. *Zeroed*: a removed unit counts as 0 wherever it is read; the result equals the original
with these units zeroed. *Folded*: the result equals the original as it is; only units can go that send a constant,
which is added to the biases of those that read it, or that nobody reads.
"""

import warnings
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.optim import Optimizer

from sapwood.ancestry import descended
from sapwood.called import checked
from sapwood.errors import InputError, refuse_unless
from sapwood.masking import masks as mask
from sapwood.measure.example import Example, as_tuple, call
from sapwood.scoring.untouched import untouched
from sapwood.shrinking.cutting.config import configured_
from sapwood.shrinking.cutting.cut import Keep, Positions, cut_, positions
from sapwood.shrinking.cutting.equal import inputs, prove, raised_, told_apart_in, zero_
from sapwood.shrinking.cutting.lent import Blind, Lent, lending
from sapwood.shrinking.cutting.wide import in_widest, narrowest, said, widened_
from sapwood.shrinking.finding import given_or_own
from sapwood.shrinking.finding import sites as sites_of
from sapwood.shrinking.fit import Attributes, fitted, set_, shapes_of
from sapwood.shrinking.fold import LAST, Staying, folding, silent, unread
from sapwood.shrinking.misfits import others as _others
from sapwood.shrinking.misfits import refuse_misfits, refuse_no_numbers
from sapwood.shrinking.tracing.anatomy import Anatomy, anatomy_of
from sapwood.shrinking.tracing.bare import Copies
from sapwood.shrinking.tracing.computed import computed, own_, sharing, twin
from sapwood.shrinking.tracing.duplicate import duplicate
from sapwood.shrinking.tracing.graph import named_tensors
from sapwood.shrinking.tracing.reused import Reused
from sapwood.shrinking.tracing.site import Site
from sapwood.shrinking.tracing.training import in_training, refuse_untrainable

Removed = Literal["zeroed", "folded", "gated"]  # "gated" is the former name of "zeroed"


@dataclass(frozen=True)
class Shrunk:
    """A smaller network of the same class, which can be trained on."""

    model: nn.Module
    optimizer: Optimizer | None  # for the smaller network, with its memory sliced likewise
    staying: tuple[Staying, ...]  # units that were to go and stay, with the reason; folded only
    difference: float | None  # the largest relative difference seen; None: not checked, or lossy
    proven: torch.dtype | None = None  # in which type: float64, unless the network's own code cannot run in it


@checked(keep="a dict, {site: bool tensor, True where a unit is kept}")
def shrink(
    model: nn.Module | Anatomy,
    keep: Keep,
    sites: Sequence[Site] | None = None,
    *,
    example: Example | None = None,
    removed: Removed = "zeroed",
    optimizer: Optimizer | None = None,
    check: bool = True,
) -> Shrunk:
    """A copy of `model` without the units that `keep` ({site name: bool [units]}, True stays) leaves out.

    Give a model, its sites and an example, or an `Anatomy`, whose own sites count where none are given.
    Equality in evaluation mode is proven before anything is returned, on the example and on random inputs; of zeroed
    networks also with noise on every weight, all of ordinary size, and with a tenth of what ReLUs and the like hold
    back let by: what is 0, tiny or silent would hide what flows into it. The proof is in float64, whatever the code
    casts to; where an operator runs in less only, it is in the widest type that does, which `proven` names, and a
    wrong cut of every site must then differ much more. Random draws are the same for both networks.
    Nothing is claimed, and `difference` is None, where units of a lossy site go: the network is only run before it is
    returned. The model and the optimiser are as they were, whatever happens. What the optimiser trains beside the
    model, such as weights of a loss, the new one goes on with. Sizes written into the model's own code cannot be
    changed: InputError then names the operator and its line; a `config` that the model is built from changes with it
    where numbers can say so, unless `check` is False. In training mode a batch norm sees fewer channels, each
    with its own statistics, so zeroed networks train alike; folded constants hold in evaluation mode only.

    >>> net, x = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)), torch.rand(1, 4)
    >>> keep = {"0": torch.arange(6) < 2}  # the first two units of site "0" stay
    >>> shrink(net, keep, sites(net, x), example=x).model
    Sequential(
      (0): Linear(in_features=4, out_features=2, bias=True)
      (1): ReLU()
      (2): Linear(in_features=2, out_features=2, bias=True)
    )
    """
    removed = _renamed(removed)
    refuse_unless("removed", removed, ("zeroed", "folded"))
    anatomy = anatomy_of(model, example)
    (model, example), sites = anatomy.given, given_or_own(model, sites)
    refuse_misfits(model, keep, sites, optimizer, removed == "folded")
    if check or removed == "folded":
        refuse_no_numbers(model)
    keep, shifts, staying = dict(keep), dict[str, Tensor](), tuple[Staying, ...]()
    if removed == "folded":
        keep, shifts, staying = folding(anatomy, sites, keep)
    plan = _Plan(positions(sites, keep), _attributes(anatomy, sites, keep), shifts)
    lossy = any(site.lossy for site in sites if site.name in keep and not bool(keep[site.name].all()))
    small, memory = duplicate((model, optimizer), sharing(model) | _others(model, optimizer))
    pair = Reused(lambda: twin(model)), Reused(lambda: twin(model), small)
    proof = _Proof(anatomy, sites, keep, plan, *pair)
    proven = in_widest(model, partial(proof.equal, removed)) if check and not lossy else (None, None)
    own_(plan.made(small, memory), model)
    whole, trial = pair[0], Reused(lambda: twin(small), small)
    if lossy or check:
        _refuse_unless_it_runs(whole if lossy else None, trial, example)
    if check:
        refuse_untrainable(Copies(small, trial), in_training(Copies(model, whole), example))
        configured_(small, model, plan.places, plan.attributes, example)
    return Shrunk(descended(small, model), memory, staying, *proven)


def _renamed(removed: Removed) -> Removed:
    if removed != "gated":
        return removed
    warnings.warn('removed="gated" is called "zeroed" now; a gate is a learned module', DeprecationWarning, 3)
    return "zeroed"


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


@dataclass(frozen=True)
class _Proof:
    """All that is compared, in one type, on two copies of the model that are put back after each pass."""

    anatomy: Anatomy
    sites: Sequence[Site]
    keep: Keep
    plan: _Plan
    whole: Reused
    small: Reused
    dtype: torch.dtype = torch.float64

    def equal(self, removed: Removed, dtype: torch.dtype) -> float:
        """The largest difference seen in a type; an InputError if there is one."""
        tried = replace(self, dtype=dtype)
        return tried.folded() if removed == "folded" else tried.zeroed()

    def folded(self) -> float:
        """The difference from the network as it is."""
        return self.seen(inputs(self.anatomy.example, dtype=self.dtype), zeroed=False)

    def zeroed(self) -> float:
        """The difference from the zeroed network, with its weights and with others."""
        given, like_it = inputs(self.anatomy.example, 1, self.dtype)
        first = self.seen([given])
        try:
            return max(first, self.seen([like_it], awake=True))
        except Blind:  # it takes no numbers of any kind
            return max(first, self.seen([given], awake=True))

    def seen(self, examples: Sequence[tuple[Any, ...]], *, zeroed: bool = True, awake: bool = False) -> float:
        """Largest output difference between the network, zeroed or not, and the sliced one; `awake`: both stirred."""
        return lending(self.anatomy.model, self.dtype, lambda lent: self._seen(examples, zeroed, awake, lent))

    def _seen(self, examples: Sequence[tuple[Any, ...]], zeroed: bool, awake: bool, lent: Lent | None) -> float:
        with self.whole.fresh() as whole, self.small.fresh() as small:
            raised_(whole, self.dtype, lent, self.plan.shifts, stirs=awake)
            for parameter, like in zip(small.parameters(), whole.parameters(), strict=True):
                parameter.data = like.data
            self.plan.made(widened_(small, self.dtype))  # before the zeroing: they share what stays
            if lent is not None:
                lent.cut_(small, whole, self.plan.places)
            reference = zero_(whole, self.sites, self.keep, lent) if zeroed else whole
            places, dtype = self.plan.places, self.dtype
            found = prove(self.anatomy, reference, small, places, examples, dtype, awake=awake, lent=lent)
            if self.dtype is not torch.float64 and awake == zeroed:
                told_apart_in(self.dtype, reference, small, self.sites, self.keep, examples[-1], found)
            return found


def _refuse_unless_it_runs(like: Reused | None, small: Reused, example: Example) -> None:
    """An InputError where it does not run in its own type, or answers in other shapes than `like`.

    A proof in a wider type does not see that an operator takes only some sizes in this one.
    """
    try:
        found = []
        for each in (small,) if like is None else (small, like):
            with each.fresh() as model, untouched(model):
                found.append(call(model, deepcopy(as_tuple(example))))
    except Exception as error:  # the model's own code, on sizes that it may not expect
        raise InputError(f"the smaller network does not run: {said(error)}; keep all units that pass there") from error
    if shapes_of(found[0]) != shapes_of(found[-1]):
        raise InputError("the smaller network's outputs would have other shapes; keep all units of its lossy sites")


@checked(masks="a dict of masks, {parameter name: bool tensor, True where it is kept}")
def compact(
    model: nn.Module | Anatomy,
    masks: Mapping[str, Tensor] | None = None,
    *,
    example: Example | None = None,
    optimizer: Optimizer | None = None,
) -> Shrunk:
    """A copy of `model`, masked, without the units that its zeros have made useless; the same outputs.

    A unit goes when all its incoming weights are 0 (what it sends, its bias behind the activation, is folded into those
    that read it) or when nobody reads it; its going may make others useless, until nothing changes. Without masks the
    zeros in the weights count, those of torch.nn.utils.prune too: the copy has them for good. `staying` names what
    remains of them, numbered as in the smaller network.

    >>> net, x = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)), torch.rand(1, 4)
    >>> dead = {"0.weight": (torch.arange(6) < 3)[:, None].expand(6, 4)}  # the last three neurons see nothing
    >>> compact(net, dead, example=x).model[0]
    Linear(in_features=4, out_features=3, bias=True)
    """
    model, example = anatomy_of(model, example).given
    small, memory = duplicate((model, optimizer), computed(model) | _others(model, optimizer))
    _with_zeros_(descended(small, model))
    mask.apply_(dict(small.named_parameters()), masks or {})
    worst, last = 0.0, dict[str, Staying]()  # a site of one unit is none any more, so it is named here
    proven = set[torch.dtype | None]()
    while True:
        anatomy = Anatomy(small, example)
        sites = sites_of(anatomy)
        keep = {site.name: ~(silent(small, site) | unread(small, site)) for site in sites}
        size = sum(tensor.numel() for _, tensor in named_tensors(small))
        found = shrink(anatomy, keep, sites, removed="folded", optimizer=memory)
        small, memory, worst = found.model, found.optimizer, max(worst, found.difference or 0.0)
        proven.add(found.proven)
        last |= {stays.site: stays for stays in found.staying if stays.because == LAST}
        if sum(tensor.numel() for _, tensor in named_tensors(small)) == size:
            return Shrunk(
                small, memory, tuple(dict.fromkeys((*last.values(), *found.staying))), worst, narrowest(proven)
            )


def _with_zeros_(model: nn.Module) -> None:
    """Torch's own masks are put on the weights for good: until then the zeros are in what a hook computes only."""
    for module in model.modules():
        for hook in list(module._forward_pre_hooks.values()):
            if isinstance(hook, prune.BasePruningMethod):
                prune.remove(module, hook._tensor_name)  # type: ignore[no-untyped-call]


def _attributes(anatomy: Anatomy, sites: Sequence[Site], keep: Keep) -> Attributes:
    """What the model's own modules must know of their new size; nothing where no size could be written down."""
    asked = any(site.asked and not bool(keep[site.name].all()) for site in sites if site.name in keep)
    return fitted(anatomy, sites, keep) if asked else {}


@torch.no_grad()
def _add_(model: nn.Module, shifts: Mapping[str, Tensor]) -> None:
    tensors = dict(named_tensors(model))
    for name, shift in shifts.items():
        tensors[name].data = (tensors[name].data.double() + shift).to(tensors[name].dtype)
