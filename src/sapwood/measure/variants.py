"""Variants: one network dense, masked, shrunk, in sparse storage or in ONNX Runtime, timed side by side."""

import time
import warnings
from collections.abc import Callable, Mapping
from copy import deepcopy
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sapwood.errors import InputError, refuse_unless
from sapwood.extras import optional
from sapwood.measure.clock import Ratio, Timing, latency, ratio
from sapwood.measure.example import Example

Layout = Literal["csr", "bsr"]


def compared(
    cases: Mapping[str, Callable[..., Any]],
    inputs: Example,
    *,
    threads: int = 1,
    rounds: int = 50,
    warmup: int = 5,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, tuple[Timing, Ratio]]:
    """Time of every case, and its ratio to the first case's time: {name: (Timing, Ratio)}, medians and quartiles.

    Cases take turns (A B C, B C A, ..); ratios are taken within a round, then summarised. Below 1 a case is faster than
    the first. A case is a module or anything callable, such as `sparse(model, "csr")` or `in_onnxruntime(file)`.
    """
    timed = latency(cases, inputs, threads=threads, rounds=rounds, warmup=warmup, clock=clock)
    first = next(iter(timed.values()))
    return {name: (each, ratio(each, first)) for name, each in timed.items()}


def sparse(model: nn.Module, layout: Layout, *, block: int = 16) -> nn.Module:
    """A copy in which every Linear multiplies by its weight in compressed storage, for timing and running only.

    "csr": compressed sparse rows; "bsr": rows of dense blocks of block x block numbers, kept where anything in them is
    not 0; a weight that blocks do not divide stays dense. Other layers stay as they are: torch has no sparse
    convolution. Weights of Linear subclasses, which other code may read, stay dense too. On one core csr pays from
    some 90 % sparsity on, bsr only for zeros in whole blocks: measure, do not assume.
    """
    refuse_unless("layout", layout, ("csr", "bsr"))
    copy = deepcopy(model)
    linears = [(name, layer) for name, layer in copy.named_modules() if type(layer) is nn.Linear]
    fitting = {name: layer for name, layer in linears if layout == "csr" or _divides(block, layer.weight)}
    if not fitting:
        raise InputError(
            f"{type(model).__name__} has {len(linears)} Linear layers, none of which can be stored as {layout}"
            + (f" in blocks of {block} x {block}" if layout == "bsr" else "")
        )
    for name, layer in fitting.items():
        if not name:
            return _SparseLinear(layer, layout, block)
        copy.set_submodule(name, _SparseLinear(layer, layout, block))
    return copy


class _SparseLinear(nn.Module):
    """y = x Wᵀ + b with W in compressed storage."""

    def __init__(self, layer: nn.Linear, layout: Layout, block: int) -> None:
        super().__init__()
        w_OI = layer.weight.detach()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse .* tensor support is in beta")
            self.weight = w_OI.to_sparse_csr() if layout == "csr" else w_OI.to_sparse_bsr((block, block))
        zeros = w_OI.new_zeros(len(w_OI)) if layer.bias is None else layer.bias.detach()
        self.bias = zeros[:, None]
        self.train(layer.training)

    def forward(self, x: Tensor) -> Tensor:
        """x is [.., I]; the weight comes first, for which torch has the faster kernel."""
        y_NO = torch.addmm(self.bias, self.weight, x.reshape(-1, x.shape[-1]).t()).t()
        return y_NO.reshape(*x.shape[:-1], -1)


def _divides(block: int, weight: Tensor) -> bool:
    return weight.shape[0] % block == 0 and weight.shape[1] % block == 0


def in_onnxruntime(file: str | Path, *, threads: int = 1) -> Callable[..., list[Any]]:
    """An exported network as a callable, run by ONNX Runtime on the CPU with so many threads: a case for `latency`.

    It takes the tensors that the exported network takes, in their order, and gives NumPy arrays.
    """
    if not Path(file).is_file():
        raise InputError(f"there is no ONNX file {str(file)!r}; export the network first")
    with optional("timing an exported network"):
        session = onnxruntime_session(str(file), threads)
    names = [each.name for each in session.get_inputs()]

    def run(*inputs: Tensor) -> list[Any]:
        given = dict(zip(names, (x.numpy() for x in inputs), strict=True))
        return list(session.run(None, given))

    return run


def onnxruntime_session(network: str | bytes, threads: int) -> Any:
    """A network in ONNX, the name of a file or its content, in ONNX Runtime on the CPU."""
    runtime = import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 3
    return runtime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
