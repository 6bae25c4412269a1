"""Equal: proof in float64 that a smaller network computes the same, and where to look when it does not."""

import traceback
from collections.abc import Iterable, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from sapwood.errors import InputError
from sapwood.measure.untouched import untouched
from sapwood.shrinking.computed import copied, plain_
from sapwood.shrinking.cut import Keep, Positions, leaving
from sapwood.shrinking.graph import Example, as_tuple, exported, line, named_tensors, of_torch, op_of, traced
from sapwood.shrinking.rules.ids import Weight, thin
from sapwood.shrinking.site import Site

MOST = 1e-9  # relative; rounding in float64 stays far below, a wrong slice far above
SIZED = {"view", "reshape", "unflatten", "expand", "split", "split_with_sizes", "chunk", "slice", "narrow", "repeat"}


def inputs(example: Example, count: int = 2) -> list[tuple[Any, ...]]:
    """The example in float64, and as many random ones like it; whole numbers stay as they are."""
    generator = torch.Generator().manual_seed(0)
    first = pytree.tree_map_only(Tensor, lambda x: x.double() if x.is_floating_point() else x, as_tuple(example))
    return [first, *(pytree.tree_map_only(Tensor, lambda x: random_like(x, generator), first) for _ in range(count))]


def random_like(x: Tensor, generator: torch.Generator) -> Tensor:
    """Normal numbers of the tensor's shape and type; whole numbers stay as they are."""
    if not x.is_floating_point():
        return x
    return torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x.device)


@torch.no_grad()
def stirred(model: nn.Module) -> nn.Module:
    """A copy in float64 with noise on every parameter: weights that start at 0 would hide what flows into them."""
    copy, generator = copied(model), torch.Generator().manual_seed(2)
    for parameter in copy.parameters():
        if parameter.is_floating_point():
            spread = float(parameter.std()) if parameter.numel() > 1 else 0.0
            noise = torch.randn(parameter.shape, generator=generator).to(parameter)
            parameter.add_(noise, alpha=0.5 * spread if spread > 0 else 0.025)
    return copy.double()


@torch.no_grad()
def gate_(model: nn.Module, sites: Iterable[Site], keep: Keep) -> nn.Module:
    """The model, in which from now on the removed units count as 0 wherever they are read.

    Weights that read them are 0. Whatever makes and holds them is noise: a slot in the wrong place lets it through.
    What is added up without a weight is 0 where it is made.
    """
    made, generator = plain_(model), torch.Generator().manual_seed(1)
    tensors = dict(named_tensors(model)) | made
    going = [
        (slot, leaving(slot, keep[site.name]), bool(site.summed) or slot.role == "reads")
        for site in sites
        if site.name in keep
        for slot in site.slots
    ]
    for slot, gone, zero in sorted(going, key=lambda each: each[2]):
        values = tensors[slot.tensor].data.movedim(slot.dim, 0)
        at = gone.nonzero().flatten().to(values.device)
        if zero:
            values.index_fill_(0, at, 0.0)
        else:
            noise = torch.rand((len(at), *values.shape[1:]), generator=generator) + 0.5
            values.index_copy_(0, at, noise.to(values))
    return model


def difference(reference: nn.Module, small: nn.Module, examples: Sequence[tuple[Any, ...]]) -> float:
    """The largest relative difference of the outputs; infinite where their shapes differ."""
    with untouched(reference, small):
        return max(apart(reference(*deepcopy(x)), small(*deepcopy(x))) for x in examples)


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
    model: nn.Module,
    reference: nn.Module,
    small: nn.Module,
    staying: Positions,
    example: Example,
    examples: Sequence[tuple[Any, ...]],
) -> float:
    """The difference of both at the examples; an InputError that names an operator unless they are equal."""
    try:
        found = difference(reference, small, examples)
    except Exception as error:  # the model's own code, on sizes that it may not expect
        raise InputError(_blame(model, example, staying, error)) from error
    if not found <= MOST:
        raise InputError(
            f"the smaller network would differ from the original by {found:.1e} (relative, float64)"
            + _suspect(model, example, staying)
        )
    return found


def _blame(model: nn.Module, example: Example, staying: Positions, error: Exception) -> str:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not of_torch(frame.filename)]
    at = f"{frames[-1].filename}:{frames[-1].lineno}"
    return f"the smaller network fails ({at}): {str(error).splitlines()[0]}" + _suspect(model, example, staying)


def _suspect(model: nn.Module, example: Example, staying: Positions) -> str:
    """The first operator with sizes of its own that a removed unit passes."""
    graph = exported(model, example)
    found = traced(graph)
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
    return "; no operator with sizes of its own is on the way, so the sites do not fit this network"


def _along(weight: Weight, dim: int) -> Tensor:
    return thin(weight.layers[dim]).flatten()
