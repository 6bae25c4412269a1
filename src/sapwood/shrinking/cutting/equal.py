"""Equal: proof that a smaller network computes the same, in float64 if its code lets it, and where to look if not."""

from collections.abc import Callable, Container, Iterable, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from sapwood.errors import InputError
from sapwood.measure.example import Example, as_tuple, call
from sapwood.scoring.untouched import untouched
from sapwood.shrinking.cutting.cut import Keep, Positions, leaving
from sapwood.shrinking.cutting.lent import Blind, Lent
from sapwood.shrinking.cutting.wide import Narrow, Wide, running_in, said, widened_
from sapwood.shrinking.rules.strides import thin
from sapwood.shrinking.rules.values import Weight
from sapwood.shrinking.tracing.anatomy import Anatomy
from sapwood.shrinking.tracing.computed import plain_
from sapwood.shrinking.tracing.graph import line, named_tensors, op_of, parting, traced
from sapwood.shrinking.tracing.site import Site

MOST = 1e-9  # relative; rounding in float64 stays far below, a wrong slice far above
IN_LESS = {torch.float32: 1e-5, torch.float16: 5e-3, torch.bfloat16: 4e-2}
FEW = 4  # units of each site that are tried
APART = 8  # in narrower types a wrong cut must differ by so many times more than the right one
SIZED = {"view", "reshape", "unflatten", "expand", "split", "split_with_sizes", "chunk", "slice", "narrow", "repeat"}
ROUNDED = ", as little as code that computes in less by other means than torch's, or a unit that hardly counts"
DRAWS = "so both networks get others; run the network without them, or keep all units of this site"


def most(dtype: torch.dtype) -> float:
    """The largest relative difference that may be rounding."""
    return IN_LESS.get(dtype, MOST)


def inputs(example: Example, count: int = 2, dtype: torch.dtype = torch.float64) -> list[tuple[Any, ...]]:
    """The example in a type, and as many random ones like it; whole numbers, pixels aside, stay as they are."""
    generator = torch.Generator().manual_seed(0)
    first = pytree.tree_map_only(Tensor, lambda x: x.to(dtype) if x.is_floating_point() else x, as_tuple(example))
    return [first, *(pytree.tree_map_only(Tensor, lambda x: random_like(x, generator), first) for _ in range(count))]


def random_like(x: Tensor, generator: torch.Generator) -> Tensor:
    """Normal numbers of the tensor's shape and type; pixels in bytes up to the example's; other whole numbers stay."""
    if x.dtype is torch.uint8 and x.dim() > 2 and x.numel():
        return torch.randint(0, int(x.max()) + 1 if x.any() else 256, x.shape, generator=generator).to(x)
    if not x.is_floating_point():
        return x
    return torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x)


def raised_(
    copy: nn.Module, dtype: torch.dtype, lent: Lent | None, but: Container[str] = (), *, stirs: bool = False
) -> nn.Module:
    """A copy on a model's numbers, in a type: large weights lent, those named in `but` and all others its own."""
    if lent is not None:
        lent.take_(copy, but)
    for p in copy.parameters():
        p.data = p.data if lent is not None and lent.of(p) else p.data.clone()
    return widened_(stir_(copy, lent) if stirs else copy, dtype)


@torch.no_grad()
def stir_(model: nn.Module, lent: Lent | None = None) -> nn.Module:
    """The model with every parameter of ordinary size and noise on it.

    Weights that start at 0 would hide what flows into them, and tiny ones how much it is.
    """
    generator = torch.Generator().manual_seed(2)
    for parameter in model.parameters():
        if lent is not None and (loan := lent.of(parameter)) is not None:
            loan.stir_(_ordinary)
        elif parameter.is_floating_point() and parameter.numel():
            size = float(parameter.double().square().mean().sqrt())
            wanted = _ordinary(parameter, size)
            noise = torch.randn(parameter.shape, generator=generator).to(parameter)
            parameter.mul_(wanted / size if size > 0 else 1.0).add_(noise, alpha=0.5 * wanted)
    return model


def _ordinary(parameter: Tensor, size: float) -> float:
    """Matrices of about 1 / sqrt(columns) keep what they read as large as it is; vectors are raised if tiny."""
    if parameter.dim() > 1:
        return float((len(parameter) / parameter.numel()) ** 0.5)
    return size if size > 0.1 else 0.3


@torch.no_grad()
def zero_(model: nn.Module, sites: Iterable[Site], keep: Keep, lent: Lent | None = None) -> nn.Module:
    """The model, in which from now on the removed units count as 0 wherever they are read.

    Weights that read them are 0. Whatever makes and holds them is noise: a slot in the wrong place lets it through.
    What is added up without a weight is 0 where it is made.
    """
    made, generator = plain_(model), torch.Generator().manual_seed(1)
    tensors = dict(named_tensors(model)) | made
    going = [
        (slot, leaving(slot, keep[site.name]), bool(site.summed) or slot.role in ("reads", "both"))
        for site in sites
        if site.name in keep
        for slot in site.slots
    ]
    for slot, gone, zero in sorted(going, key=lambda each: each[2]):
        if lent is not None and (loan := lent.of(tensors[slot.tensor])) is not None:
            loan.zeroed.append((slot.dim, gone, zero))
            continue
        values = tensors[slot.tensor].data.movedim(slot.dim, 0)
        at = gone.nonzero().flatten().to(values.device)
        if zero:
            values.index_fill_(0, at, 0.0)
        else:
            noise = torch.rand((len(at), *values.shape[1:]), generator=generator) + 0.5
            values.index_copy_(0, at, noise.to(values))
    return model


def difference(
    reference: nn.Module,
    small: nn.Module,
    examples: Sequence[tuple[Any, ...]],
    dtype: torch.dtype | None = None,
    *,
    awake: bool = False,
    lent: Lent | None = None,
) -> float:
    """The largest relative difference of the outputs; infinite where their shapes differ.

    Both draw the same random numbers. With a type they run in it whatever the code casts to, and `awake` as `Wide`
    does it. `Narrow` is raised where the reference cannot, or where some operator's precision was less.
    """
    gpus = {p.device.index for p in small.parameters() if p.is_cuda}
    mode = Wide(dtype or torch.float64, awake=awake, gpus=gpus, lent=lent)
    with untouched(reference, small):
        if dtype is None:
            return max(apart(_seeded(mode, reference, x), _seeded(mode, small, x)) for x in examples)
        found = [_apart_in(mode.again(), reference, small, x) for x in examples]
    if all(apart_ is None for apart_ in found):
        raise Blind(f"{type(small).__name__} gives no finite number for this example, so no proof would see anything")
    return max(apart_ for apart_ in found if apart_ is not None)


def _seeded(mode: Wide, model: nn.Module, x: tuple[Any, ...]) -> Any:
    mode.seed(0)
    return call(model, deepcopy(x))


def _apart_in(mode: Wide, reference: nn.Module, small: nn.Module, x: tuple[Any, ...]) -> float | None:
    """The difference in a type, None where nothing is finite. What is drawn in two sizes is even the next time."""
    wanted, seen = _ran(reference, x, mode), mode.again()
    if mode.awake and not _finite(wanted, all):  # such as the logarithm of a sigmoid that lets something by
        return _apart_in(mode.again(awake=False), reference, small, x)
    if not _finite(wanted, any):
        return None
    with running_in(seen):
        found = apart(wanted, call(small, deepcopy(x)))
    two_sizes = {n for n, (one, other) in enumerate(zip(mode.drawn, seen.drawn, strict=False)) if one != other}
    if two_sizes - mode.even:
        return _apart_in(mode.again(mode.even | two_sizes), reference, small, x)
    if not found <= most(mode.dtype) and mode.narrow:
        raise Narrow(f"{mode.narrow[0]} computes in less")
    if not found <= most(mode.dtype) and mode.even:
        raise InputError(f"{mode.drawn[min(mode.even)][0]} draws random numbers for units that go; {DRAWS}")
    return found


def _ran(model: nn.Module, x: tuple[Any, ...], mode: Wide) -> Any:
    """What the original gives; `Narrow` where its code stops in this type."""
    try:
        with running_in(mode):
            return call(model, deepcopy(x))
    except Exception as error:  # the model's own code, in a type that it may not expect
        raise Narrow(f"{said(error)}") from error


def _finite(outputs: Any, of: Callable[[Iterable[bool]], bool]) -> bool:
    """Whether all numbers are finite, or any tensor's are."""
    tensors = [x for x in pytree.tree_leaves(outputs) if isinstance(x, Tensor) and x.numel()]
    return not tensors or of(bool(x.isfinite().all() if of is all else x.isfinite().any()) for x in tensors)


def apart(a: Any, b: Any) -> float:
    """max |a - b| / max |a| over the tensors of two outputs, each by itself; infinite where shapes or NaNs differ."""
    parts = [[_real(x) for x in pytree.tree_leaves(y) if isinstance(x, Tensor)] for y in (a, b)]
    if [x.shape for x in parts[0]] != [x.shape for x in parts[1]]:
        return float("inf")
    return max((_relative(x.double(), y.double()) for x, y in zip(*parts, strict=True)), default=0.0)


def _real(x: Tensor) -> Tensor:
    return torch.view_as_real(x.detach()).cpu() if x.is_complex() else x.detach().cpu()


def _relative(a: Tensor, b: Tensor) -> float:
    differs = (a != b) & ~(a.isnan() & b.isnan())
    if not bool(differs.any()):
        return 0.0
    largest = a.nan_to_num(0.0, 0.0, 0.0).abs().max().clamp(min=torch.finfo(torch.float64).tiny)
    found = float((a - b)[differs].abs().max() / largest)
    return found if found == found else float("inf")


def prove(
    anatomy: Anatomy,
    reference: nn.Module,
    small: nn.Module,
    staying: Positions,
    examples: Sequence[tuple[Any, ...]],
    dtype: torch.dtype = torch.float64,
    *,
    awake: bool = False,
    lent: Lent | None = None,
) -> float:
    """The difference of both at the examples; an InputError that names an operator unless they are equal.

    `Narrow` where the original does not run in this type.
    """
    try:
        found = difference(reference, small, examples, dtype, awake=awake, lent=lent)
    except (InputError, Narrow):
        raise
    except Exception as error:  # the model's own code, on sizes that it may not expect
        raise InputError(f"the smaller network fails: {said(error)}" + _suspect(anatomy, staying)) from error
    if not found <= most(dtype):
        raise InputError(
            f"the smaller network would differ from the original by {found:.1e} (relative, {str(dtype)[6:]})"
            + (ROUNDED if found < IN_LESS[torch.float32] else _suspect(anatomy, staying, small, examples[0]))
        )
    return found


@torch.no_grad()
def told_apart_in(
    dtype: torch.dtype,
    reference: nn.Module,
    small: nn.Module,
    sites: Iterable[Site],
    keep: Keep,
    example: tuple[Any, ...],
    found: float,
) -> None:
    """In a narrow type one more unit that goes must make a difference that no rounding makes; an InputError if not."""
    for site in (site for site in sites if site.name in keep and not bool(keep[site.name].all())):
        some = keep[site.name].nonzero().flatten()[:FEW].tolist()
        wrong = max(_without(reference, small, site, unit, example, dtype) for unit in some)
        if not wrong > APART * max(found, float(torch.finfo(dtype).eps)):
            raise InputError(
                f"in {str(dtype)[6:]}, the widest type in which the network runs, a wrong cut of site {site.name!r} "
                f"would differ by {wrong:.1e} and the right one does by {found:.1e}, which proves nothing; keep all "
                "units of this site"
            )


def _without(
    reference: nn.Module, small: nn.Module, site: Site, unit: int, example: tuple[Any, ...], dtype: torch.dtype
) -> float:
    """The difference if one more unit counted as 0 wherever it is read; afterwards all is as it was."""
    tensors, one = dict(named_tensors(reference)), torch.arange(site.units) != unit
    read = [(tensors[slot.tensor].data, slot.dim, leaving(slot, one)) for slot in site.at("reads")]
    before = [weight.clone() for weight, _, _ in read]
    for weight, dim, gone in read:
        weight.movedim(dim, 0)[gone.to(weight.device)] = 0
    try:
        return difference(reference, small, [example], dtype, awake=True)
    finally:
        for (weight, _, _), values in zip(read, before, strict=True):
            weight.copy_(values)


def _suspect(anatomy: Anatomy, staying: Positions, small: nn.Module | None = None, example: Example = ()) -> str:
    """The first operator with sizes of its own that a removed unit passes, or from which on the networks differ."""
    graph = anatomy.graph
    found = anatomy.once("tied", lambda: traced(replace(graph, training=None)))
    gone = {
        int(root)
        for name, dims in staying.items()
        for dim, keep in dims.items()
        for root in found.ties.root(_along(found.weights[name], dim)[~keep])
    }
    for node in graph.nodes():
        ids = [value for value in (found.values[n] for n in node.all_input_nodes) if isinstance(value, Tensor)]
        if op_of(node) in SIZED and any(gone & set(found.ties.root(thin(x)).flatten().tolist()) for x in ids):
            return (
                f"; a size may be written into aten.{op_of(node)} ({line(node)}): write -1 or take it from the "
                "tensor there, or keep all units that pass it"
            )
    if small is not None and (where := parting(graph, small, example)):
        return f"; it runs other operators from {where} on, as its code decides by a size; keep the units counted there"
    return "; no operator with sizes of its own is on the way, so the sites do not fit this network"


def _along(weight: Weight, dim: int) -> Tensor:
    return thin(weight.layers[dim]).flatten()
