"""Smaller ResNets, end to end: a trained network for CIFAR-10 loses half of its multiply-adds and recovers from it.

The trained ResNet-20 and ResNet-56 (`load_trained`) lose the filters with the smallest weights (Li et al. 2017:
L1 norms, here relative to the layer's mean) until a given share of the multiply-adds is left, become smaller at once,
and only then are trained on: SGD, momentum 0.9, weight decay 1e-4, batches of 128, learning rate from 0.01 to 0 along
half a cosine. Nothing was tuned: the networks were trained on all training images, so no split of them could say what
is better, and test images are looked at once for each line printed. Recovering takes 50 s an epoch for ResNet-20 at
half of its work and 150 s for ResNet-56 on one core. It may be interrupted: what has been trained is kept in --folder.

Prints a line for each network and writes it to --csv: test accuracy before, right after the cut, and recovered, with
the seed and the seconds; what the network has become in parameters, multiply-adds and, one thread, in time; whether
its file gives the same network back.
"""

import argparse
import csv
import time
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.optim import SGD

from sapwood import (
    CRITERIA,
    Run,
    Task,
    export,
    fewest,
    macs_of,
    measure,
    per_unit,
    schedule,
    score,
    shrink,
    sites,
    start,
    train,
)
from sapwood.models.resnet_cifar import load_trained, resnet_cifar
from sapwood.shrinking.shrink import Shrunk
from sapwood.study.provenance import commit
from sapwood.task import Batch
from sapwood.tasks.resnet20_cifar import resnet20_cifar

LR, BATCH, ROUNDS = 0.01, 16, 60


def smaller(network: nn.Module, example: torch.Tensor, density: float) -> Shrunk:
    """The network with at most `density` of its multiply-adds, by L1 norms of filters."""
    units = sites(network, example)
    norms = per_unit(score(network, CRITERIA["magnitude"]), units, reduce=torch.mean)
    macs = macs_of(network, units, example)
    relative = {name: scores / scores.mean() for name, scores in norms.items()}
    return shrink(network, fewest(relative, macs, density * float(macs({}))), units, example=example)


def recovered(task: Task, epochs: int, seed: int, kept: Path) -> Run:
    """Trains on, an epoch at a time; takes up again where `kept` was written."""
    run = start(task, seed=seed, saved=kept if kept.is_file() else None)
    run.between = lambda run: run.save(kept) if run.step % task.steps_per_epoch == 0 else None
    for now in train(run, epochs=epochs):
        if now.ends_epoch:
            print(f"  epoch {now.epoch} of {epochs}: training loss {now.metrics['train_loss']:.3f}", flush=True)
    return run


def end_to_end(depth: int, density: float, epochs: int, seed: int, folder: Path) -> dict[str, object]:
    """One network's line."""
    task, whole = resnet20_cifar(), load_trained(depth)
    test = task.data.test.take(slice(None))
    example = test.inputs[:1]
    small = smaller(whole, example, density)
    name = f"resnet{depth}_{density:g}_{epochs}_{seed}"
    began = time.perf_counter()
    recipe = partial(SGD, lr=LR, momentum=0.9, weight_decay=1e-4)
    model = partial(deepcopy, small.model)
    retrained = replace(task, name=name, model=model, optimizer=recipe, course=schedule.cosine)
    run = recovered(retrained, epochs, seed, folder / f"{name}.run")
    seconds, file = time.perf_counter() - began, folder / f"{name}.safetensors"
    export.save(run.model, file, of=whole)
    again = export.load(file, partial(resnet_cifar, depth))
    return {
        "network": f"ResNet-{depth}", "seed": seed, "epochs": epochs, "difference": small.difference,
        **{f"accuracy_{when}": right(each, test) for when, each in
           {"before": whole, "cut": small.model, "recovered": run.model, "loaded": again}.items()},
        **sizes(whole, run.model, example),
        **speed(whole, run.model, test.inputs[:BATCH]),
        "seconds": round(seconds), "commit": commit(),
    }  # fmt: skip


def right(network: nn.Module, samples: Batch) -> float:
    """The share of samples with the right answer."""
    return measure.accuracy(network, samples, k=(1,), batch_size=500)["top1"]


def sizes(whole: nn.Module, small: nn.Module, example: torch.Tensor) -> dict[str, float]:
    """Parameters and multiply-adds that are left, as shares."""
    both = {"whole": whole, "small": small}
    numbers = {name: sum(p.numel() for p in each.parameters()) for name, each in both.items()}
    work = {name: sum(measure.macs(each, example).values()) for name, each in both.items()}
    return {"parameters": numbers["small"], "parameters_before": numbers["whole"],
            "macs": work["small"], "macs_before": work["whole"]}  # fmt: skip


def speed(whole: nn.Module, small: nn.Module, images: torch.Tensor) -> dict[str, float]:
    """How many times as fast, interleaved."""
    with torch.no_grad():
        times = measure.latency({"whole": whole.eval(), "small": small.eval()}, images, rounds=ROUNDS)
    ratio = measure.ratio(times["whole"], times["small"])
    return {"speedup": ratio.median, "speedup_low": ratio.lower, "speedup_high": ratio.upper}


def written(path: Path, lines: list[dict[str, object]]) -> None:
    """All lines of this call as CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--depth", type=int, nargs="+", default=[20, 56])
    options.add_argument("--density", type=float, nargs="+", default=[0.5], help="share of the multiply-adds to keep")
    options.add_argument("--epochs", type=int, default=8)
    options.add_argument("--seed", type=int, nargs="+", default=[0])
    options.add_argument("--folder", type=Path, default=Path("results/smaller_resnets"))
    options.add_argument("--csv", type=Path)
    chosen = options.parse_args()
    torch.set_num_threads(1)
    chosen.folder.mkdir(parents=True, exist_ok=True)
    found = []
    for depth in chosen.depth:
        for density in chosen.density:
            for seed in chosen.seed:
                found.append(end_to_end(depth, density, chosen.epochs, seed, chosen.folder))
                print(", ".join(f"{name} {value}" for name, value in found[-1].items()), flush=True)
    if chosen.csv:
        written(chosen.csv, found)
