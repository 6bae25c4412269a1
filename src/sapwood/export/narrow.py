"""Narrow branches: thin convolutions between a residual stream and itself, which are worth it whole or not at all."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch

from sapwood.currency import Scores
from sapwood.errors import InputError
from sapwood.shrinking.depth import branches, remove_branches
from sapwood.shrinking.summands import Branch
from sapwood.shrinking.tracing.anatomy import Anatomy
from sapwood.shrinking.tracing.site import Site

BLOCK = 16  # channels that processors with vectors of 512 bits convolve together: 8 of them take as long
WIDE = 4 * BLOCK  # a site so wide keeps a block anyway: its best quarter goes last


@dataclass(frozen=True)
class Narrow:
    """The branch that a site lies in alone."""

    branch: str
    modules: tuple[str, ...]  # all that goes with it
    units: int  # of the site
    like: tuple[torch.Size, ...]  # the shapes of its weights: branches of the same shapes are compared


def narrow_branches(anatomy: Anatomy, sites: Sequence[Site], keep: Collection[str] = ()) -> dict[str, Narrow]:
    """{site: its branch}, of the branches that can be removed and are not named in `keep`; of each shape several.

    In such a branch are convolutions, all of whose weights belong to one site of fewer than 64 units.
    """
    thin = [site for site in sites if site.units < WIDE]
    if not thin:
        return {}
    found = {site.name: each for branch in branches(anatomy) for site, each in _inside(anatomy, branch, thin)}
    free = {name: each for name, each in found.items() if not _named(each.modules, keep)}
    some = _several(free)
    return some if _go(anatomy, some.values()) else _several({n: e for n, e in some.items() if _go(anatomy, [e])})


def passed_by(anatomy: Anatomy, sites: Sequence[Site]) -> frozenset[str]:
    """The names of the sites in branches of additions: all that makes their units and reads them is in one branch."""
    parameters, inside = {name for name, _ in anatomy.model.named_parameters()}, set[str]()
    for branch in branches(anatomy):
        its = {name for name in parameters if any(name.startswith(f"{module}.") for module in branch.modules)}
        inside |= {site.name for site in sites if {slot.tensor for slot in site.slots} & parameters <= its}
    return frozenset(inside)


def stronger(scores: Scores, narrow: Mapping[str, Narrow]) -> set[str]:
    """Of the sites in branches of the same shapes the half that is worth most, or one more: these go last."""
    groups = dict[tuple[torch.Size, ...], list[str]]()
    for name, each in narrow.items():
        groups.setdefault(each.like, []).append(name)
    best = set[str]()
    for names in groups.values():
        best |= set(sorted(names, key=lambda name: -float(scores[name].sum()))[: (len(names) + 1) // 2])
    return best


def _inside(anatomy: Anatomy, branch: Branch, sites: Sequence[Site]) -> list[tuple[Site, Narrow]]:
    """The site that takes part in all weights of a branch and in nothing else, if there is one."""
    parameters = dict(anatomy.model.named_parameters())
    own = {n: p for n, p in parameters.items() if any(n.startswith(f"{module}.") for module in branch.modules)}
    weights = {name for name, p in own.items() if p.dim() > 1}
    if any(own[name].dim() < 3 for name in weights):
        return []
    inside = [
        site for site in sites if (its := {slot.tensor for slot in site.slots} & {*parameters}) <= {*own}
        and weights <= its
    ]  # fmt: skip
    like = tuple(own[name].shape for name in sorted(weights, key=list(own).index))
    return [(site, Narrow(branch.name, branch.modules, site.units, like)) for site in inside[:1]]


def _several(found: Mapping[str, Narrow]) -> dict[str, Narrow]:
    """Those that are not the only one of their shapes."""
    every = [each.like for each in found.values()]
    return {name: each for name, each in found.items() if every.count(each.like) > 1}


def _named(modules: Collection[str], keep: Collection[str]) -> bool:
    """Whether `keep` names one of these modules, what is in it, or what it is in."""
    pairs = [(f"{one}.", f"{other}.") for one in modules for other in keep]
    return any(one.startswith(other) or other.startswith(one) for one, other in pairs)


def _go(anatomy: Anatomy, gone: Iterable[Narrow]) -> bool:
    """Whether these branches can be removed."""
    try:
        remove_branches(anatomy, [each.branch for each in gone], check=False)
    except InputError:
        return False
    return True
