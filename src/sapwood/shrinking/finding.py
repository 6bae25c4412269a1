"""Sites: finding them in a network, by running its exported graph on ids instead of numbers, and by trying."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from sapwood.called import checked
from sapwood.errors import InputError
from sapwood.measure.example import Example
from sapwood.shrinking.cutting.cut import Positions, cut_, positions
from sapwood.shrinking.fit import Attributes, fitted, set_, whole_of
from sapwood.shrinking.tracing.anatomy import Anatomy, anatomy_of
from sapwood.shrinking.tracing.graph import Graph, line, named, op_of
from sapwood.shrinking.tracing.site import Couplings, Pinned, Site, grouped, module_of, told_apart
from sapwood.shrinking.tracing.training import refuse_untrainable

END = 2**63 - 1  # where slices end that take all
WRITTEN = {
    "view", "reshape", "unflatten", "expand", "repeat", "tile", "split", "split_with_sizes", "slice", "narrow",
    "zeros", "ones", "full", "empty", "rand", "randn", "arange", "linspace", "eye", "new_zeros", "new_ones", "new_full",
    "new_empty", "mul", "div", "add", "sub", "rsub", "pow", "roll",
}  # fmt: skip


@checked()
def sites(model: nn.Module | Anatomy, example: Example | None = None, *, lossy: bool = False) -> tuple[Site, ...]:
    """The sites of a network, in the order in which their units are made.

    Give a model and an example, or an `Anatomy` of both: whoever asks more than once saves the most of the time.
    Sizes come from the example; one sample is enough. Units that some operator cannot lose are in no site: `couplings`
    says which and why. Two sites may sit on one dimension, as heads and what is inside of each; a position goes with
    any of its units. The model is left as it was.

    What only training runs, as heads that help it learn, is analysed with the rest; where that cannot be, units without
    which it would fail stay.

    Layer and RMS norms go over all numbers of a stream, so none of these can go and leave the others as they were.
    `lossy=True` offers them nevertheless, as sites that say so; no equality is claimed for what is shrunk by them.

    >>> net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    >>> [(site.name, site.units) for site in sites(net, torch.rand(1, 4))]
    [('0', 6)]
    """
    return couplings(model, example, lossy=lossy).sites


@checked()
def couplings(model: nn.Module | Anatomy, example: Example | None = None, *, lossy: bool = False) -> Couplings:
    """All sites of a network, `.sites`, and all that must stay, `.pinned`, each with the reason.

    Arguments as for `sites`. What must change together is a site's `slots`.
    """
    anatomy = anatomy_of(model, example)
    return anatomy.once(("couplings", lossy), lambda: _couplings(anatomy, lossy))


def given_or_own(model: nn.Module | Anatomy, sites_: Sequence[Site] | None) -> Sequence[Site]:
    """The sites that were given, or those of an anatomy; InputError where there are neither."""
    if sites_ is not None:
        return sites_
    if isinstance(model, Anatomy):
        return sites(model)
    raise InputError("a model was given without its sites; give `sites(model, example)`, or an Anatomy")


def _couplings(anatomy: Anatomy, lossy: bool) -> Couplings:
    graph = anatomy.graph
    runs = map(grouped, anatomy.runs(lossy=lossy))
    found = [replace(run, sites=tuple(asked(graph, run.sites))) for run in runs]
    wanted = _distinct([site for run in found for site in run.sites])
    all_of_them = anatomy.trained is not None and graph.training is None
    able, unable = _tried(anatomy, wanted, all_of_them)
    heads = {module_of(slot.tensor) for site in able if site not in found[0].sites for slot in site.at("makes")}
    return Couplings(told_apart(able), (*(pin for pin in found[0].pinned if pin.name not in heads), *unable))


def _distinct(sites: Sequence[Site]) -> list[Site]:
    """Without those that another run has found before."""
    first: dict[object, Site] = {}
    for site in sites:
        first.setdefault(frozenset((s.tensor, s.dim, s.unit_of.numpy().tobytes()) for s in site.slots), site)
    return list(first.values())


def asked(graph: Graph, found: Sequence[Site]) -> list[Site]:
    """Sites that also name the operators with numbers which may have been read from their size, at other tensors."""
    written = [(node, _numbers(node)) for node in graph.nodes() if op_of(node) in WRITTEN]
    numbers = {f"aten.{op_of(node)} ({line(node)})": some for node, some in written if some}
    return [replace(site, asked=(*site.asked, *_reading(site, numbers))) for site in found]


def _numbers(node: fx.Node) -> set[float]:
    sizes = {name: given for name, given in named(node, node.args, node.kwargs).items() if name not in ("dim", "step")}
    return {abs(part) for part in pytree.tree_leaves(sizes) if type(part) in (int, float)} - {0, 1, END}


def _reading(site: Site, numbers: Mapping[str, set[float]]) -> list[str]:
    sizes = {site.units, *(len(slot.unit_of) for slot in site.slots)}
    return [
        operator
        for operator, found in numbers.items()
        if operator not in site.asked
        and any(type(n) is float or any(n % size == 0 or size % n == 0 for size in sizes) for n in found)
    ]


def _misfit(anatomy: Anatomy, sites: Sequence[Site]) -> str | None:
    """Why the model would not run without some units of each of these sites."""
    keep = dict[str, Tensor]()
    for number, alike in enumerate(_kinds(sites)):  # of other kinds other shares stay: no two agree by chance
        keep |= {site.name: torch.arange(site.units) % (2 + number % 3) != 1 for site in alike}
    try:
        attributes = fitted(anatomy, sites, keep)
        if anatomy.trained is not None and sites:
            _refuse_untrainable(anatomy, positions(sites, keep), attributes)
    except InputError as error:
        return str(error)
    return None


def _refuse_untrainable(anatomy: Anatomy, places: Positions, attributes: Attributes) -> None:
    """Raise unless the smaller model trains, tried without numbers first: to slice these takes long."""

    def smaller_(copy: nn.Module) -> None:
        cut_(copy, places)
        set_(copy, attributes)

    small = anatomy.copies.after(smaller_)
    try:
        refuse_untrainable(small, anatomy.trained, bare=anatomy.plain)
    except Exception:  # whatever stops it, numbers have the last word
        refuse_untrainable(small, anatomy.trained)


def _tried(anatomy: Anatomy, wanted: Sequence[Site], all_of_them: bool) -> tuple[list[Site], list[Pinned]]:
    """Return the sites that can lose units, and those that cannot, with the error of the model's own code."""
    named = told_apart(wanted)
    why = _misfits(anatomy, [site for site in named if site.asked or all_of_them])
    able = [site for site, name in zip(wanted, named, strict=True) if name.name not in why]
    return able, [Pinned(site.name, site.units, why[site.name]) for site in named if site.name in why]


def _misfits(anatomy: Anatomy, asked: Sequence[Site]) -> dict[str, str]:
    """{site: error}. Try all together; if that fails, one of each kind, and all that are left whenever one has failed.

    If that fails, too, try one by one.
    """
    if not asked:
        return {}
    try:
        whole_of(anatomy)
    except InputError as error:
        return {site.name: str(error) for site in asked}
    if _misfit(anatomy, asked) is None:
        return {}
    why, able = dict[str, str](), list(asked)
    for alike in _kinds(asked):
        because = _misfit(anatomy, alike[:1])
        if because is not None:
            why |= {site.name: because for site in alike}
            able = [site for site in asked if site.name not in why]
            if _misfit(anatomy, able) is None:
                return why
    together: list[Site] = []
    for site in able:
        because = _misfit(anatomy, [*together, site])
        if because is None:
            together.append(site)
        else:
            why[site.name] = because
    return why


def _kinds(asked: Sequence[Site]) -> list[list[Site]]:
    """Sites whose names differ in numbers of modules only, as those of layers do; not several sites of one module."""
    kinds: dict[str, list[Site]] = {}
    for site in asked:
        module, _, which = site.name.partition("#")
        kind = f"{re.sub('[0-9]+', '', module)} {which} {len(site.slots)} {bool(site.summed)}"
        kinds.setdefault(kind, []).append(site)
    return list(kinds.values())
