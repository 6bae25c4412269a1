"""One call each: `sapwood.prune` of every architecture of `architectures.py`, half of its multiply-adds, unchanged.

A line each: what is left, how equal it is, whether it trains on, is loaded again with the same bits, and what ONNX
Runtime says. Where half cannot be met, the least that can is taken and said. Exit status 1 if one fails otherwise.
`--only resnet18 U-Net` runs those whose names hold one of the words.
"""

import argparse
import re
import sys
import time
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from architectures import ARCHITECTURES, made
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from sapwood import InputError, export, prune
from sapwood.export.pruned import Pruned
from sapwood.export.samples import samples_of

MORE = 0.02  # above the least that can be left


def pruned_at(model: nn.Module, example: tuple[Tensor, ...], share: float) -> tuple[float, Pruned]:
    """The network with this share of its multiply-adds, or with the least that can be left and a little more."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    try:
        return share, prune(model, example, macs=share, optimizer=optimizer, timing=0.5)
    except InputError as error:
        least = re.search(r"cannot be met: .*\(([\d.]+) %\)", str(error))
        if least is None:
            raise
        share = round(float(least[1]) / 100 + MORE, 3)
        return share, prune(model, example, macs=share, optimizer=optimizer, timing=0.5)


def steps(pruned: Pruned, example: tuple[Tensor, ...]) -> bool:
    """Whether a step of training moves the network, on two samples at least: batch norms refuse one."""
    example = tuple(torch.cat([x, x]) for x in example)
    before = [p.detach().clone() for p in pruned.model.parameters()]
    answers = [y for y in pytree.tree_leaves(pruned.model.train()(*example)) if isinstance(y, Tensor)]
    losses = torch.stack([(y - 1).square().mean() for y in answers if y.requires_grad])
    torch.autograd.backward(losses.sum())
    assert pruned.optimizer is not None
    pruned.optimizer.step()
    return any(not torch.equal(a, b) for a, b in zip(before, pruned.model.parameters(), strict=True))


def again(name: str, pruned: Pruned, model: nn.Module, folder: Path) -> bool:
    """Whether it is loaded with the same bits."""
    export.save(pruned.model, folder / "small.safetensors", of=model)
    loaded = export.load(folder / "small.safetensors", lambda: made(name)[0]).state_dict()
    return all(torch.equal(value, loaded[key]) for key, value in pruned.model.state_dict().items())


def onnx(pruned: Pruned, example: tuple[Tensor, ...], folder: Path) -> str:
    """By how much ONNX Runtime's answers differ, or why there are none."""
    try:
        apart = export.to_onnx(
            pruned.model.eval(), example, folder / "small.onnx", batch=samples_of(example), tolerance=1e-3
        )
        return f"ONNX {apart:.0e}"
    except InputError as error:
        return f"no ONNX: {str(error)[:60]}"


def line(name: str, macs: float, with_onnx: bool) -> str:
    """What one architecture gives."""
    began = time.perf_counter()
    model, example = made(name)
    share, pruned = pruned_at(model, example, macs)
    assert pruned.before.macs is not None
    assert pruned.after.macs is not None
    assert pruned.after.macs <= share * pruned.before.macs
    with TemporaryDirectory() as folder:
        loaded = again(name, pruned, model, Path(folder))
        told = onnx(pruned, example, Path(folder)) if with_onnx else "ONNX not asked for"
    assert pruned.times is not None
    numbers = pruned.after.parameters / pruned.before.parameters
    return (
        f"{name:40} MACs {100 * pruned.after.macs / pruned.before.macs:5.1f} %, parameters {100 * numbers:5.1f} %, "
        f"ms {100 * pruned.times.left.median:.0f} %, "
        f"difference {pruned.difference or 0:.0e} in {str(pruned.proven)[6:]}, loaded {'yes' if loaded else 'NO'}, "
        f"trains {'yes' if steps(pruned, example) else 'NO'}, {told}; {time.perf_counter() - began:.0f} s"
    )


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--only", nargs="+", default=[""])
    options.add_argument("--macs", type=float, default=0.5)
    options.add_argument("--onnx", action="store_true")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    failed = 0
    for name in ARCHITECTURES:
        if any(word in name for word in chosen.only):
            try:
                print(line(name, chosen.macs, chosen.onnx), flush=True)
            except Exception as error:
                failed += 1
                print(f"{name:40} FAILED: {type(error).__name__}: {str(error)[:300]}", flush=True)
    sys.exit(failed > 0)
