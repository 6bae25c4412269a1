"""ONNX: the network as a graph for ONNX Runtime and its like, compared with the network before it is written."""

import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from sapwood.called import checked
from sapwood.errors import InputError, first_line
from sapwood.export.agreement import TOLERANCE, disagreement
from sapwood.export.caches import without_caches
from sapwood.export.program import exported
from sapwood.export.samples import samples_of, wanted
from sapwood.extras import MissingExtra, installs, optional
from sapwood.measure.example import Example, as_tuple
from sapwood.measure.variants import onnxruntime_session
from sapwood.shrinking.tracing.exporting import quietly
from sapwood.training import checkpoint

KEY = ("key", "idx", "name")  # what an entry of a path into nested outputs has one of
NEEDED = ("onnx", "onnxscript")
WHAT = "ONNX export"


@checked()
def to_onnx(
    model: nn.Module,
    example: Example,
    path: Path | str,
    *,
    batch: int | None = None,
    tolerance: float = TOLERANCE,
    any_batch: bool | None = None,
) -> float | None:
    """Write the network in evaluation mode as an ONNX file, and return by how much ONNX Runtime's answers differ.

    The largest difference over the largest output, on the example and on random inputs; above `tolerance` it is an
    InputError and nothing is written. None: onnxruntime is not installed, so nothing was compared. The first dimension
    of every input, one for all of them, may have any size, and one sample more than the example's is compared, too;
    all other sizes are the example's. Inputs and outputs that stand in a dict have their keys for names (`a_0` for the
    first part of "a"); another input has the name of forward's argument. With `batch` the file takes so many samples
    and no others. `any_batch` is the old name of `batch=None`. Needs the extra `sapwood[onnx]`.
    """
    for name in NEEDED:
        with optional(WHAT), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import_module(name)
    inputs, opened = wanted(example, batch, any_batch)
    with without_caches(model):
        content = _content(model, example, inputs, opened)
        found = _compared(model, content, as_tuple(example) if opened else inputs, opened, tolerance)
    checkpoint.replace(Path(path), content)
    return found


def _compared(model: nn.Module, content: bytes, seen: tuple[Any, ...], opened: bool, tolerance: float) -> float | None:
    """By how much the answers differ, None without ONNX Runtime."""
    try:
        run = running(content)
    except ModuleNotFoundError:
        return None
    what = "the network in ONNX Runtime"
    return disagreement(model, run, seen, any_batch=opened, tolerance=tolerance, what=what)


def content_of(model: nn.Module, example: Example) -> bytes:
    """What an ONNX file of the network would hold, for as many samples as the example has."""
    inputs, opened = wanted(example, samples_of(example), None)
    return _content(model, example, inputs, opened)


def running(content: bytes, threads: int | None = None) -> Callable[..., list[Tensor]]:
    """An ONNX file's content as a function of tensors, in ONNX Runtime on the CPU; as many threads as torch has."""
    try:
        session = onnxruntime_session(content, threads or torch.get_num_threads())
    except ModuleNotFoundError:
        raise
    except Exception as error:
        raise InputError(f"ONNX Runtime does not take the network: {first_line(error)}") from error
    names = [each.name for each in session.get_inputs()]

    def run(*inputs: Any, **keywords: Any) -> list[Tensor]:
        tensors = [x for x in pytree.tree_leaves((inputs, keywords)) if isinstance(x, Tensor)]
        try:
            arrays = [x.detach().cpu().numpy() for x in tensors]  # which has no bfloat16
            return [torch.from_numpy(y) for y in session.run(None, dict(zip(names, arrays, strict=True)))]
        except Exception as error:
            raise InputError(f"ONNX Runtime does not run the network: {first_line(error)}") from error

    return run


def _content(model: nn.Module, example: Example, inputs: tuple[Any, ...], opened: bool) -> bytes:
    program = exported(model, example, inputs, opened=opened)
    try:
        with warnings.catch_warnings(), quietly(), torch.no_grad():  # as exported: attention's layout depends on it
            warnings.simplefilter("ignore")  # torch's and onnxscript's own, of versions to come
            written = torch.onnx.export(
                program, dynamo=True, verbose=False, input_names=_inputs(inputs), output_names=_outputs(program)
            )
            assert written is not None  # as always with dynamo=True
            content: bytes = written.model_proto.SerializeToString()
            return content
    except ModuleNotFoundError as missing:
        raise MissingExtra(f"{WHAT} needs {missing.name}; run: {installs('onnx')}", name=missing.name) from missing
    except Exception as error:
        raise InputError(
            f"{type(model).__name__} cannot be written as ONNX: {first_line(error.__cause__ or error)}; "
            "torch.onnx.export(model, example, dynamo=True) says more; to_program may do"
        ) from error


def _inputs(inputs: tuple[Any, ...]) -> list[str] | None:
    """Names of the inputs: the keys of an example that is one dict of tensors; None: those of forward's arguments."""
    given = inputs[0] if len(inputs) == 1 else None
    tensors = isinstance(given, Mapping) and all(isinstance(x, Tensor) for x in given.values())
    return [str(key) for key in given] if tensors and isinstance(given, Mapping) else None


def _outputs(program: ExportedProgram) -> list[str] | None:
    """Names of the outputs: where each stands in a dict of answers; None for torch's, where there is none."""
    answer = program.call_spec.out_spec
    if answer is None or answer.num_leaves == 0:
        return None
    found = pytree.tree_leaves_with_path(pytree.tree_unflatten(list(range(answer.num_leaves)), answer))
    names = ["_".join(str(getattr(part, at)) for part in path for at in KEY if hasattr(part, at)) for path, _ in found]
    named = all(path and isinstance(path[0], pytree.MappingKey) for path, _ in found)
    return names if named and len(set(names)) == len(names) else None
