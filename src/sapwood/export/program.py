"""Program: the network as a torch.export program, a graph of operators that needs none of the model's code."""

import io
import warnings
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import Dim, ExportedProgram, ShapesCollection
from torch.utils import _pytree as pytree

from sapwood.called import checked
from sapwood.errors import InputError
from sapwood.export.agreement import TOLERANCE, disagreement
from sapwood.export.caches import without_caches
from sapwood.export.samples import samples_of, wanted
from sapwood.measure.example import Example, arguments, as_tuple
from sapwood.scoring.untouched import untouched
from sapwood.shrinking.tracing.exporting import as_said, quietly, refusal
from sapwood.shrinking.tracing.graph import refuse_unanswered
from sapwood.training import checkpoint


@checked()
def to_program(
    model: nn.Module,
    example: Example,
    path: Path | str,
    *,
    batch: int | None = None,
    tolerance: float = TOLERANCE,
    any_batch: bool | None = None,
) -> float:
    """Write the network in evaluation mode as a .pt2 file, and return by how much the answers of the two differ.

    The largest difference over the largest output, on the example and on random inputs; above `tolerance` it is an
    InputError and nothing is written. The first dimension of every input, one for all of them, may have any size, and
    one sample more than the example's is compared, too; all other sizes are the example's. With `batch` the program
    takes so many samples and no others. `any_batch` is the old name of `batch=None`.
    `torch.export.load` reads the file. It may unpickle what it finds: load files that you trust; for others there is
    `save` and `load`.
    """
    inputs, opened = wanted(example, batch, any_batch)
    packed = io.BytesIO()
    with without_caches(model):
        torch.export.save(exported(model, example, inputs, opened=opened), packed)
        again = torch.export.load(io.BytesIO(packed.getvalue())).module()  # written this moment: it can be trusted
        seen = as_tuple(example) if opened else inputs
        found = disagreement(model, again, seen, any_batch=opened, tolerance=tolerance, what="the exported program")
    checkpoint.replace(Path(path), packed.getvalue())
    return found


def exported(model: nn.Module, example: Example, inputs: tuple[Any, ...], *, opened: bool) -> ExportedProgram:
    """The network's graph in evaluation mode, for the sizes of the inputs or, `opened`, for any number of samples.

    InputError: the code cannot be exported, or works for the example's number of samples only.
    """
    try:
        return _exported(model, inputs, opened)
    except Exception as error:  # whatever stops it
        refuse_unanswered(model, as_tuple(example))
        fixed = samples_of(example)
        what = f"{type(model).__name__} cannot be exported"
        if opened and _goes(model, as_tuple(example)):
            names = "torch cannot where forward takes **names"
            why = names if _takes_names(model) else f"its code fixes the batch at {fixed}"
            what += f" for any number of samples, as {why}; batch={fixed} writes it for that"
        raise InputError(
            f"{what}: {refusal(error)}; torch.export.export(model, example, strict=False) says more"
        ) from error


def _takes_names(model: nn.Module) -> bool:
    """Whether forward takes any keywords; then torch's check of open sizes fails by itself."""
    return any(p.kind is p.VAR_KEYWORD for p in signature(model.forward).parameters.values())


def _goes(model: nn.Module, inputs: tuple[Any, ...]) -> bool:
    try:
        _exported(model, inputs, False)
    except Exception:
        return False
    return True


def _exported(model: nn.Module, inputs: tuple[Any, ...], opened: bool) -> ExportedProgram:
    args, kwargs = arguments(model, inputs)
    batch, sizes = Dim("batch"), ShapesCollection()  # type: ignore[no-untyped-call]
    for x in pytree.tree_leaves((args, kwargs)):
        if opened and isinstance(x, Tensor):
            sizes[x] = {0: batch}  # by tensor: forward(*inputs) nests them otherwise than they are given
    with untouched(model), warnings.catch_warnings(), quietly(), as_said():
        warnings.simplefilter("ignore")  # torch's own, of versions to come
        shapes: Any = sizes if opened else None
        return without_zeros(torch.export.export(model, args, kwargs, dynamic_shapes=shapes, strict=False))


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
