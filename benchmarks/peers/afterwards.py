"""Afterwards: whether a shrunk architecture survives a file, costs what torch counts, and runs in ONNX Runtime.

As a program it is the second process: for every line "architecture<tab>file" it prints the fingerprints of what it
loads.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from architectures import Made, made
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils import _pytree as pytree
from torch.utils.flop_counter import FlopCounterMode

from sapwood.currency import Keep
from sapwood.errors import InputError
from sapwood.export import load, save, to_onnx
from sapwood.export.samples import samples_of
from sapwood.measure.example import as_tuple
from sapwood.processes import digest
from sapwood.scoring.untouched import untouched
from sapwood.shrinking.cost import macs_of
from sapwood.shrinking.cutting.equal import inputs
from sapwood.shrinking.tracing.anatomy import Anatomy
from sapwood.shrinking.tracing.computed import copied
from sapwood.shrinking.tracing.graph import named_tensors

Again = Callable[[str, Made, nn.Module], str]  # architecture, the original, the shrunk one -> "yes", or what is lost
ONNX = all(find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime"))


@contextmanager
def second_process() -> Iterator[Again]:
    """Saving here, loading there: the other process knows an architecture's name and a file, and builds the original.

    Both must compute in one thread: the last bits of a sum depend on how many there are.
    """
    command = [sys.executable, "-W", "ignore", __file__]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        ask, answers, file = process.stdin, process.stdout, Path(folder, "small.safetensors")

        def again(name: str, original: Made, small: nn.Module) -> str:
            model, example = original
            save(small, file, of=model)
            print(name, file, sep="\t", file=ask, flush=True)
            said, wanted = answers.readline().split(), fingerprint(small, example)
            if len(said) != len(wanted):
                raise RuntimeError(f"the second process could not load {name}; what it said is above")
            other = [what for what, *two in zip(("tensors", "outputs"), said, wanted, strict=True) if two[0] != two[1]]
            return f"other {' and '.join(other)}" if other else "yes"

        yield again
        ask.close()


def fingerprint(model: nn.Module, example: tuple[Any, ...]) -> list[str]:
    """Of all parameters and buffers, and of the outputs: one other bit makes it another."""
    with untouched(model):
        outputs = [x for x in pytree.tree_leaves(model(*example)) if isinstance(x, Tensor)]
    answers = {f"output {n}": x for n, x in enumerate(outputs)}
    return [digest(dict(named_tensors(model))).hex(), digest(answers).hex()]


def costs(original: Anatomy, small: nn.Module, keep: Keep) -> tuple[float, float, str]:
    """Multiply-adds of the whole network and, foretold, of the shrunk one; "yes" if torch counts exactly as many."""
    model, example = original.model, as_tuple(original.example)
    cost = macs_of(original)
    whole, rest = float(cost({})), float(cost(keep))
    pairs = {"whole": (whole, counted(model, example)), "shrunk": (rest, counted(small, example))}
    other = [f"{what} {ours:,.0f}, but torch counts {its:,.0f}" for what, (ours, its) in pairs.items() if ours != its]
    return whole, rest, "; ".join(other) or "yes"


def counted(model: nn.Module, example: tuple[Any, ...]) -> float:
    """Half of torch's FLOPs; with gradients and plain attention: it does not see inside fused kernels.

    In float64, or as the model is where an operator of its has none, as grouped products.
    """
    try:
        return _counted(copied(model).double(), inputs(example, 0)[0])
    except RuntimeError:
        return _counted(copied(model), example)


def _counted(copy: nn.Module, example: tuple[Any, ...]) -> float:
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.enable_grad():
        copy(*example)
    return float(counter.get_total_flops()) / 2


def in_onnx(original: Made, small: nn.Module) -> str:
    """ "yes" if ONNX Runtime answers like the shrunk network; otherwise why not, and whether the whole one does."""
    model, example = original
    why = _refused(small, example)
    if not why:
        return "yes"
    neither = _refused(model, example)
    return (
        f"the whole network is not written either: {neither}" if neither else f"the whole network is written, but {why}"
    )


def _refused(model: nn.Module, example: tuple[Any, ...]) -> str:
    """Why there is no ONNX file that answers within the tolerance; empty if there is."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            to_onnx(model, example, Path(folder, "network.onnx"), batch=samples_of(example))
        except InputError as error:
            return str(error).split("; ")[0]
    return ""


def loaded(name: str, file: str) -> list[str]:
    """The fingerprints, in the second process."""
    model, example = made(name)
    return fingerprint(load(file, lambda: model), example)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for line in sys.stdin:
        print(*loaded(*line.rstrip("\n").split("\t")), flush=True)
