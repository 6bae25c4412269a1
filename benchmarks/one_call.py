"""One call: the trained ResNets for CIFAR-10 with half of their multiply-adds, by `sapwood.prune` and its defaults.

Prints the table of the call with accuracies on all test images (before, after the cut, with statistics of the batch
norms found anew on 2,000 training images); then how many times faster the network is in PyTorch and in ONNX Runtime,
batch 16, one thread, dense and smaller taking turns in one process; then, with --epochs, the accuracy after training
on as `smaller_resnets.py` does. Nothing was tuned on test images. Without training it takes 5 minutes on one core.
"""

import argparse
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from smaller_resnets import LR, recovered, right
from torch import nn
from torch.optim import SGD

from sapwood import InputError, Task, export, measure, prune, schedule
from sapwood.export.pruned import Pruned
from sapwood.measure import Ratio, Timing
from sapwood.models.resnet_cifar import load_trained, resnet_cifar
from sapwood.tasks.resnet20_cifar import resnet20_cifar
from sapwood.training.task import Batch

BATCH, ROUNDS, SEEN = 16, 60, 2_000


def cut(depth: int, macs: float, task: Task, by: str) -> tuple[nn.Module, Pruned]:
    """The trained network and the smaller one, with accuracies on the test images."""
    whole = load_trained(depth)
    test, train = task.data.test.take(slice(None)), task.data.train
    batches = [train.take(torch.arange(at, at + 500)).inputs for at in range(0, SEEN, 500)]
    example = test.inputs[:BATCH]
    return whole, prune(
        whole, example, macs=macs, by=by, evaluate=lambda model: right(model, test), recalibrate=batches
    )


def faster(whole: nn.Module, small: nn.Module, images: torch.Tensor) -> Mapping[str, Ratio]:
    """How many times faster, by engine; all four take turns."""
    with TemporaryDirectory() as folder:
        cases: dict[str, Callable[..., object]] = {"dense": whole, "small": small}
        try:
            for name, model in (("dense", whole), ("small", small)):
                export.to_onnx(model, images, file := Path(folder) / f"{name}.onnx", batch=len(images))
                cases[f"{name} in ONNX Runtime"] = measure.in_onnxruntime(file)
        except InputError as missing:
            print(f"ONNX Runtime: {missing}")
        clock = time.process_time  # of a busy machine: the time worked, not the time waited
        times: Mapping[str, Timing] = measure.latency(cases, images, rounds=ROUNDS, clock=clock)
    pairs = [("PyTorch", "dense", "small"), ("ONNX Runtime", "dense in ONNX Runtime", "small in ONNX Runtime")]
    return {engine: measure.ratio(times[a], times[b]) for engine, a, b in pairs if b in times}


def trained_on(task: Task, small: nn.Module, name: str, epochs: int, seed: int, folder: Path) -> float:
    """Test accuracy after some epochs at 0.01, falling."""
    recipe = partial(SGD, lr=LR, momentum=0.9, weight_decay=1e-4)
    again = replace(task, name=name, model=lambda: small, optimizer=recipe, course=schedule.cosine)
    run = recovered(again, epochs, seed, folder / f"{name}.run")
    return right(run.model, task.data.test.take(slice(None)))


def line(depth: int, chosen: argparse.Namespace) -> None:
    """One network."""
    task = resnet20_cifar()
    whole, pruned = cut(depth, chosen.macs, task, chosen.by)
    print(f"ResNet-{depth}\n{pruned}", flush=True)
    images: Batch = task.data.test.take(torch.arange(BATCH))
    for engine, ratio in faster(whole, pruned.model, images.inputs).items():
        spread = f"quartiles {ratio.lower:.2f} to {ratio.upper:.2f}"
        print(f"{engine}: {ratio.median:.2f} times faster ({spread}), batch {BATCH}, 1 thread, CPU seconds", flush=True)
    name = f"one_call_{depth}_{chosen.by}_{chosen.macs:g}_{chosen.epochs}_{chosen.seed}"
    export.save(pruned.model, file := chosen.folder / f"{name}.safetensors", of=whole)
    if chosen.epochs:
        fresh = export.load(file, partial(resnet_cifar, depth))
        found = trained_on(task, fresh, name, chosen.epochs, chosen.seed, chosen.folder)
        print(f"test accuracy after {chosen.epochs} epochs more, seed {chosen.seed}: {found:.4f}", flush=True)


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--depth", type=int, nargs="+", default=[20, 56])
    options.add_argument("--macs", type=float, default=0.5)
    options.add_argument("--by", default="magnitude")
    options.add_argument("--epochs", type=int, default=0)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--folder", type=Path, default=Path("results/one_call"))
    chosen = options.parse_args()
    torch.set_num_threads(1)
    chosen.folder.mkdir(parents=True, exist_ok=True)
    for depth in chosen.depth:
        line(depth, chosen)
