"""ONNX: the network as a graph for ONNX Runtime and its like, compared with the network before it is written."""

import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from sapwood.errors import InputError
from sapwood.export.agreement import TOLERANCE, disagreement
from sapwood.export.program import exported
from sapwood.extras import MissingExtra, installs, optional
from sapwood.measure.example import Example
from sapwood.measure.variants import onnxruntime_session
from sapwood.training import checkpoint

NEEDED = ("onnx", "onnxscript")
WHAT = "ONNX export"


def to_onnx(
    model: nn.Module, example: Example, path: Path | str, *, any_batch: bool = False, tolerance: float = TOLERANCE
) -> float | None:
    """Write the network in evaluation mode as an ONNX file, and return by how much ONNX Runtime's answers differ.

    The largest difference over the largest output, on the example and on random inputs; above `tolerance` it is an
    InputError and nothing is written. None: onnxruntime is not installed, so nothing was compared. `any_batch`: the
    first dimension of every input, one for all of them, may have any size. Needs the extra `sapwood[onnx]`.
    """
    for name in NEEDED:
        with optional(WHAT), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import_module(name)
    content = _content(model, example, any_batch)
    try:
        run = running(content)
    except ModuleNotFoundError:
        found = None
    else:
        what = "the network in ONNX Runtime"
        found = disagreement(model, run, example, any_batch=any_batch, tolerance=tolerance, what=what)
    checkpoint.replace(Path(path), content)
    return found


def running(content: bytes) -> Callable[..., list[Tensor]]:
    """An ONNX file's content as a function of tensors, in ONNX Runtime on the CPU with as many threads as torch has."""
    try:
        session = onnxruntime_session(content, torch.get_num_threads())
    except ModuleNotFoundError:
        raise
    except Exception as error:
        raise InputError(f"ONNX Runtime does not take the network: {_first_line(error)}") from error
    names = [each.name for each in session.get_inputs()]

    def run(*inputs: Any, **keywords: Any) -> list[Tensor]:
        tensors = [x for x in pytree.tree_leaves((inputs, keywords)) if isinstance(x, Tensor)]
        try:
            arrays = [x.detach().cpu().numpy() for x in tensors]  # which has no bfloat16
            return [torch.from_numpy(y) for y in session.run(None, dict(zip(names, arrays, strict=True)))]
        except Exception as error:
            raise InputError(f"ONNX Runtime does not run the network: {_first_line(error)}") from error

    return run


def _content(model: nn.Module, example: Example, any_batch: bool) -> bytes:
    program = exported(model, example, any_batch=any_batch)
    try:
        with warnings.catch_warnings(), torch.no_grad():  # as it was exported: attention's layout depends on it
            warnings.simplefilter("ignore")  # torch's and onnxscript's own, of versions to come
            written = torch.onnx.export(program, dynamo=True, verbose=False)
            assert written is not None  # as always with dynamo=True
            content: bytes = written.model_proto.SerializeToString()
            return content
    except ModuleNotFoundError as missing:
        raise MissingExtra(f"{WHAT} needs {missing.name}; run: {installs('onnx')}", name=missing.name) from missing
    except Exception as error:
        raise InputError(
            f"{type(model).__name__} cannot be written as ONNX: {_first_line(error.__cause__ or error)}; "
            "torch.onnx.export(model, example, dynamo=True) says more; to_program may do"
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
