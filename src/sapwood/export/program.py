"""Program: the network as a torch.export program, a graph of operators that needs none of the model's code."""

import io
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import Dim, ExportedProgram, ShapesCollection
from torch.utils import _pytree as pytree

from sapwood.errors import InputError
from sapwood.export.agreement import TOLERANCE, disagreement
from sapwood.measure.example import Example, arguments, as_tuple
from sapwood.scoring.untouched import untouched
from sapwood.training import checkpoint


def to_program(
    model: nn.Module, example: Example, path: Path | str, *, any_batch: bool = False, tolerance: float = TOLERANCE
) -> float:
    """Write the network in evaluation mode as a .pt2 file, and return by how much the answers of the two differ.

    The largest difference over the largest output, on the example and on random inputs; above `tolerance` it is an
    InputError and nothing is written. `any_batch`: the first dimension of every input, one for all of them, may have
    any size; otherwise all sizes are the example's. `torch.export.load` reads the file. It may unpickle what it finds:
    load files that you trust; for others there is `save` and `load`.
    """
    packed = io.BytesIO()
    torch.export.save(exported(model, example, any_batch=any_batch), packed)
    again = torch.export.load(io.BytesIO(packed.getvalue())).module()  # what was written this moment can be trusted
    found = disagreement(model, again, example, any_batch=any_batch, tolerance=tolerance, what="the exported program")
    checkpoint.replace(Path(path), packed.getvalue())
    return found


def exported(model: nn.Module, example: Example, *, any_batch: bool) -> ExportedProgram:
    """The network's graph in evaluation mode, for the example's sizes or for any number of samples."""
    inputs = as_tuple(example)
    args, kwargs = arguments(model, _several(inputs) if any_batch else inputs)
    batch, sizes = Dim("batch"), ShapesCollection()  # type: ignore[no-untyped-call]
    for x in pytree.tree_leaves((args, kwargs)):
        if any_batch and isinstance(x, Tensor):
            sizes[x] = {0: batch}  # by tensor: forward(*inputs) nests them otherwise than they are given
    try:
        with untouched(model), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own, of versions to come
            shapes: Any = sizes if any_batch else None
            return without_zeros(torch.export.export(model, args, kwargs, dynamic_shapes=shapes, strict=False))
    except Exception as error:  # whatever stops it
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        hint = "try with the example's batch alone (any_batch=False); " if any_batch else ""
        raise InputError(
            f"{type(model).__name__} cannot be exported: {said}; {hint}"
            "torch.export.export(model, example, strict=False) says more"
        ) from error


def without_zeros(program: ExportedProgram) -> ExportedProgram:
    """The program in which the zeros of branches that were removed (`Skipped`) are not added, in place.

    Compilers cannot tell that they are zeros, and write the stream to memory for each.
    """
    graph, add, zeros = program.graph_module.graph, torch.ops.aten.add.Tensor, torch.ops.aten.zeros_like.default
    for node in graph.find_nodes(op="call_function", target=add):
        for one, other in (node.args, node.args[::-1]):
            made = isinstance(other, fx.Node) and other.target is zeros
            if made and isinstance(one, fx.Node) and not node.kwargs and _alike(one, node):
                node.replace_all_uses_with(one)
                break
    graph.eliminate_dead_code()
    program.graph_module.recompile()
    return program


def _alike(one: fx.Node, other: fx.Node) -> bool:
    """Whether two operators give tensors of one shape and type."""
    a, b = one.meta.get("val"), other.meta.get("val")
    return isinstance(a, Tensor) and isinstance(b, Tensor) and a.shape == b.shape and a.dtype == b.dtype


def _several(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """The example with two samples or more: torch takes a size of 1 for one that never changes."""
    sizes = {tuple(x.shape[:1]) for x in pytree.tree_leaves(args) if isinstance(x, Tensor)}
    if len(sizes) != 1 or sizes & {(), (0,)}:
        raise InputError(
            f"any_batch is for inputs whose first dimension counts the same samples; the example has {sorted(sizes)} "
            "there; give such an example, or any_batch=False"
        )
    twice: tuple[Any, ...] = pytree.tree_map_only(Tensor, lambda x: torch.cat([x, x]), args)
    return twice if sizes == {(1,)} else args
