"""Cost: what a network costs with some of its units open; one function for reports, for selection and for gates.

Each is a `Cost`: {site: what is open, [..., units]} -> cost, [...] float64, on the device of what it is given; sites
that are not named are fully open. With [samples, units] it is the cost of each sample by itself. Given bools it is
exact, the cost of the network that `shrink` returns. Given numbers from 0 to 1 (probabilities that units are open) it
is a differentiable expectation, in which dimensions of a layer are independent: it is biased where one site feeds both
of them, since E[n²] exceeds E[n]² by the variance of n.
"""

import operator
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from sapwood.called import checked
from sapwood.errors import InputError
from sapwood.measure.example import Example
from sapwood.selection import select
from sapwood.shrinking.contractions import CONTRACTIONS, Space
from sapwood.shrinking.finding import given_or_own
from sapwood.shrinking.rules.ids import Ties
from sapwood.shrinking.rules.strides import thin, varied
from sapwood.shrinking.rules.values import Weight
from sapwood.shrinking.tracing.anatomy import Anatomy, anatomy_of
from sapwood.shrinking.tracing.graph import Traced, call_of, line, named_tensors, op_of
from sapwood.shrinking.tracing.site import Site
from sapwood.shrinking.widths import Numbering, Term, extent, width

Cost = Callable[[Mapping[str, Tensor]], Tensor]  # {site: what is open, [..., units]} -> cost, [...]
Values = Mapping[fx.Node, Any]  # the ids of every operator's outputs


@checked()
def macs_of(model: nn.Module | Anatomy, sites: Sequence[Site] | None = None, example: Example | None = None) -> Cost:
    """A function that counts the multiply-adds of one call on inputs like the example, given what is kept.

    Returns cost(keep), a scalar tensor for {site: bool [units]}; sites that are not named keep all, so that
    `float(cost({}))` is the number for the whole network. Shares from 0 to 1 in place of bools, as gates give them,
    cost in proportion and have gradients. All samples of the example count.

    Give a model, its sites and an example, or an `Anatomy`, whose own sites count where none are given.

    1 MAC = 2 FLOPs: given bools, half of what `torch.utils.flop_counter` counts on the shrunk network. Counted are
    linear layers, convolutions, recurrent layers, products of matrices and attention, each as often as it runs; not
    biases, norms, activations, products with a single vector. A masked or padded number is multiplied like any other.
    On a CPU the counter does not see inside fused attention and float32 LSTMs; here they cost what their products do.
    InputError names an operator that torch counts and that has no formula here, if removable units pass it.

    >>> net, x = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)), torch.rand(1, 4)
    >>> macs = macs_of(net, sites(net, x), x)
    >>> float(macs({})), float(macs({"0": torch.arange(6) < 3}))
    (36.0, 18.0)
    """
    anatomy = anatomy_of(model, example)
    found, numbering = anatomy.flow, numbered(anatomy, sites)
    seats, nodes = _seats(numbering, found), anatomy.graph.nodes()
    known = dict[object, int]()
    return _sum(numbering, [term for node in nodes for term in _terms(found.values, seats, numbering, node, known)])


@checked()
def parameters_of(model: nn.Module | Anatomy, sites: Sequence[Site] | None = None) -> Cost:
    """A function that counts the numbers in all parameters, given what is kept; a shared parameter counts once.

    Returns cost(keep), as `macs_of` does. Without `sites` those of an `Anatomy` count.
    """
    model, sites = _both(model, sites)
    return _stored(model, sites, {name: 1 for name, _ in model.named_parameters()})


@checked()
def bytes_of(model: nn.Module | Anatomy, sites: Sequence[Site] | None = None) -> Cost:
    """A function that counts the bytes of all parameters and buffers in memory, given what is kept.

    Returns cost(keep), as `macs_of` does; a shared tensor counts once. Without `sites` those of an `Anatomy` count.
    """
    model, sites = _both(model, sites)
    every = (*model.named_parameters(), *model.named_buffers())
    return _stored(model, sites, {name: tensor.element_size() for name, tensor in every})


@checked(cost="a cost, which macs_of(model, example=example) gives")
def fewest(scores: Mapping[str, Tensor], cost: Cost, limit: float, *, multiple: int = 1) -> select.Keep:
    """What to keep of all sites after the fewest removals, lowest scores first, for which cost(keep) <= limit.

    Give scores {site: [units]}, higher is kept; returns {site: bool [units]}. It is `select.within` for units. Widths
    are multiples of `multiple`: a site that loses units is rounded *down*, so that the limit holds with the rounded
    widths. At least `multiple` units of each site are kept (all, where it has fewer), and a site that loses none keeps
    its own width. The limit is in the cost's units, for half: 0.5 * float(cost({})). InputError if it cannot be met so.

    >>> net, x = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)), torch.rand(1, 4)
    >>> macs = macs_of(net, sites(net, x), x)
    >>> fewest({"0": torch.tensor([5.0, 1.0, 4.0, 2.0, 6.0, 3.0])}, macs, limit=0.5 * float(macs({})))
    {'0': tensor([ True, False,  True, False,  True, False])}
    """
    if multiple < 1:
        raise InputError(f"multiple is {multiple}; widths are rounded to a multiple of 1 or more")
    least = {name: min(multiple, s.numel()) for name, s in scores.items()}
    keep = select.within(scores, lambda keep: cost(_rounded(scores, keep, multiple)), limit, least=least)
    return _rounded(scores, keep, multiple)


def _rounded(scores: Mapping[str, Tensor], keep: Mapping[str, Tensor], multiple: int) -> select.Keep:
    counts = {name: int(kept.sum()) for name, kept in keep.items()}
    whole = {name: n if n == len(keep[name]) else n - n % multiple for name, n in counts.items()}
    return select.by_count(scores, whole)


def _sum(numbering: Numbering, terms: Sequence[Term]) -> Cost:
    on = {torch.device("cpu"): terms}  # a copy for each device on which it has been asked for

    def cost(keep: Mapping[str, Tensor]) -> Tensor:
        open_U = numbering.open(keep)
        if open_U.device not in on:
            on[open_U.device] = [term.to(open_U.device) for term in terms]
        return torch.stack([open_U.new_zeros(open_U.shape[:-1]), *(term.of(open_U) for term in on[open_U.device])]).sum(
            0
        )

    return cost


def _stored(model: nn.Module, sites: Sequence[Site], weight: Mapping[str, int]) -> Cost:
    """The sum over tensors of weight * the product of the widths of its dimensions."""
    numbering, terms = numbered(model, sites), []
    for name, tensor in {**dict(model.named_parameters()), **dict(model.named_buffers())}.items():
        if name in weight:
            along = [numbering.along(name, dim) for dim in range(tensor.dim())]
            rest = [size for size, units in zip(tensor.shape, along, strict=True) if units is None]
            widths = tuple(width(units, numbering.always) for units in along if units is not None)
            terms.append(Term(float(weight[name] * torch.Size(rest).numel()), widths))
    return _sum(numbering, terms)


def _both(model: nn.Module | Anatomy, sites: Sequence[Site] | None) -> tuple[nn.Module, Sequence[Site]]:
    """The model itself, and the sites that were given or are its anatomy's."""
    return (model.model if isinstance(model, Anatomy) else model), given_or_own(model, sites)


def numbered(model: nn.Module | Anatomy, given: Sequence[Site] | None) -> Numbering:
    """The sites' units, numbered; InputError unless the sites are this network's."""
    model, sites = _both(model, given)
    tensors = dict(named_tensors(model))
    for site in sites:
        for slot in site.slots:
            if slot.tensor not in tensors or tensors[slot.tensor].shape[slot.dim] != len(slot.unit_of):
                raise InputError(
                    f"site {site.name!r} does not fit {slot.tensor!r}; find the sites of this network anew"
                )
    return Numbering(sites)


def _seats(numbering: Numbering, found: Traced) -> Tensor:
    """[ids, K]: the units of all sites that each id belongs to.

    The slots give the units of a weight's positions; ties give those of other ids, such as attention scores. If heads
    are units, a second set of ties (one per head) is used too, for the sites whose units it does not mix.
    """
    own = {(n, d): thin(layer).flatten() for n, w in found.weights.items() for d, layer in enumerate(w.layers)}
    every = torch.cat([*own.values(), torch.empty(0, dtype=torch.int64)])
    ties, seats = [found.ties.known().root], []
    if found.ties.heads:
        ties.append(found.ties.known_with_heads().root)
    for root in ties:
        members = torch.bincount(root[every], minlength=len(root))
        pairs = [pair for site in numbering.sites.values() for pair in _whole(numbering, site, own, root, members)]
        seats.append(_table(pairs, len(root), numbering.always)[root])
    return _crossed(found.ties, ties[0], torch.cat(seats, 1), numbering.always)


def _crossed(ties: Ties, root: Tensor, seats: Tensor, always: int) -> Tensor:
    """[ids, more]: numbers made by two dimensions of a weight, as of heads and what is in them, have seats of both."""
    every = [seats]
    for number in range(max((len(layers) for _, layers in ties.grids), default=0)):
        more = torch.full_like(seats, always)
        for new, layers in ties.grids:
            if number < len(layers):
                more[root[new].flatten()] = seats[layers[number].flatten()]
        every.append(more[root])
    return torch.cat(every, 1)


def _whole(
    numbering: Numbering, site: Site, own: Mapping[tuple[str, int], Tensor], root: Tensor, members: Tensor
) -> list[Tensor]:
    """Pairs (root id, unit), [2, P]; empty if one root holds several units of the site."""
    at = torch.cat([own[slot.tensor, slot.dim] for slot in site.slots])
    unit = torch.cat([slot.unit_of for slot in site.slots])
    pairs, counts = torch.unique((root[at] * site.units + unit)[unit >= 0], return_counts=True)
    roots = pairs // site.units
    pairs = torch.stack([roots, pairs % site.units + numbering.start[site.name]])
    return [pairs] if torch.equal(members[roots], counts) else []


def _table(pairs: Sequence[Tensor], ids: int, always: int) -> Tensor:
    """[ids, K]: all units of each id, side by side."""
    which, unit = torch.cat([torch.empty(2, 0, dtype=torch.int64), *pairs], 1)
    which, order = which.sort(stable=True)
    first = torch.searchsorted(which, which)  # of those of the same id
    side = torch.arange(len(which)) - first
    table = torch.full((ids, int(side.max()) + 1 if len(side) else 1), always)
    table[which, side] = unit[order]
    return table


def _terms(values: Values, seats: Tensor, numbering: Numbering, node: fx.Node, known: dict[object, int]) -> list[Term]:
    """What an operator costs; `known`: what torch has counted before."""
    if node.target is operator.getitem or isinstance(node.meta.get("val"), int | float):
        return []
    if not isinstance(node.target, torch._ops.OpOverload):
        raise InputError(f"{op_of(node)} ({line(node)}) runs code of its own, so its multiply-adds cannot be counted")
    spaces = CONTRACTIONS[op_of(node)](call_of(values, node), values[node]) if op_of(node) in CONTRACTIONS else None
    if spaces is not None:
        return [_size(space, numbering.always, seats) for space in spaces]
    macs = _counted(node, known)
    if macs:
        _refuse_units(values, seats, numbering.always, node)
    return [Term(float(macs), ())] if macs else []


def _size(space: Space, always: int, seats: Tensor) -> Term:
    """How many points of a space stay."""
    placed = [
        (axes, seats[thin(ids)])
        for axes, value in space.placed
        for ids in (value.layers if isinstance(value, Weight) else (value,))
    ]
    term = extent(space.sizes(), placed, always)
    return Term(term.times * space.times, term.widths)


def _kind(node: fx.Node) -> Any:
    """What a tensor is like, in words; other values as they are."""
    value = node.meta.get("val")
    return f"{value.shape} {value.stride()} {value.dtype}" if isinstance(value, Tensor) else value


def _counted(node: fx.Node, known: dict[object, int]) -> int:
    """What torch counts of an operator, in multiply-adds; 0 for what it has no formula for and does not take apart."""
    counted = node.target
    assert isinstance(counted, torch._ops.OpOverload)
    composite = counted.has_kernel_for_dispatch_key(torch._C.DispatchKey.CompositeImplicitAutograd)
    if not composite and counted.overloadpacket not in flop_registry:
        return 0
    key = counted, str(fx.node.map_arg((node.args, node.kwargs), _kind))
    if key not in known:
        known[key] = _asked(node)
    return known[key]


def _asked(node: fx.Node) -> int:
    args, kwargs = fx.node.map_arg((node.args, node.kwargs), lambda part: part.meta.get("val"))
    with FlopCounterMode(display=False) as counter, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        node.target(*args, **kwargs)  # type: ignore[operator]
    return int(counter.get_total_flops()) // 2


def _refuse_units(values: Values, seats: Tensor, always: int, node: fx.Node) -> None:
    leaf = lambda value: isinstance(value, Weight)  # noqa: E731
    for value in pytree.tree_leaves([values[part] for part in node.all_input_nodes], is_leaf=leaf):
        for ids in value.layers if isinstance(value, Weight) else (value,):
            if varied(ids) and bool((seats[thin(ids)] < always).any()):
                raise InputError(
                    f"units pass aten.{op_of(node)} ({line(node)}), whose multiply-adds have no formula; "
                    "one goes into src/sapwood/shrinking/contractions.py"
                )
