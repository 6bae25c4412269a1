"""Half of ResNet-56: `sapwood.prune(model, example, macs=0.5)` with its defaults beside Torch-Pruning.

The network that was trained on CIFAR-10 loses half of its multiply-adds or a little more, then both are trained on
alike: SGD, momentum 0.9, weight decay 1e-4, batches of 128, a learning rate that falls from 0.01 to 0 along half a
cosine, the same images in the same order for a seed, moved and mirrored. `--images` says how many; an epoch is 45,000.

The peer is its `MagnitudePruner`, `round_to=8`, the classifier an ignored layer, with the ratio whose network has the
most multiply-adds of those with at most half (`--scan` prints them):

- *defaults*: `GroupMagnitudeImportance()`, the same ratio for all layers;
- *lamp*: its best, `GroupMagnitudeImportance(normalizer="lamp")`, ranked over all layers. Of the normalisers that it
  has, and norm scales, this and norm scales alone leave the first residual stream whole at half; the stream is what
  accuracy hangs on.

The rule, written before the first row: ours must be at least 1.5 times faster than the dense network in ONNX Runtime,
batch 16, one thread, and faster than the peer's; and more accurate on the test images after recovery than each of the
peer's, so that the 95 % interval of the difference within a seed lies above 0, three seeds. Nothing was chosen by
test images. All networks take turns in one process; CPU seconds count, since the machine may be busy.

Rows are kept in --csv one by one; run again, it goes on with what is missing. Needs torch-pruning beside sapwood.
"""

import argparse
import csv
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch_pruning as tp
from torch import nn
from torch.nn import functional as F

from sapwood import export, measure, prune
from sapwood.data.augment import crop_and_flip
from sapwood.models.resnet_cifar import ResNetCifar, load_trained
from sapwood.tasks.resnet20_cifar import resnet20_cifar
from sapwood.training.task import Batch
from sapwood.trials.provenance import commit

DEPTH, BATCH, ROUNDS, LR = 56, 16, 40, 0.01
COLUMNS = ("network", "tool", "options", "seed", "images", "macs", "macs_before", "params", "params_before",
           "accuracy_before", "accuracy_after_cut", "accuracy_after_recovery", "faster_onnxruntime", "faster_pytorch",
           "torch", "seconds", "commit")  # fmt: skip
Group = tp.importance.GroupMagnitudeImportance
PEERS: dict[str, tuple[Callable[[], Any], bool, float]] = {  # options -> importance, over all layers, ratio
    "defaults": (lambda: Group(), False, 0.1328125),
    "lamp": (lambda: Group(normalizer="lamp"), True, 0.42),
}
SCANNED: dict[str, Callable[[], Any]] = {
    "mean": lambda: Group(),
    "none": lambda: Group(normalizer=None),
    "gaussian": lambda: Group(normalizer="gaussian"),
    "max": lambda: Group(normalizer="max"),
    "lamp": lambda: Group(normalizer="lamp"),
    "norm scale": lambda: tp.importance.BNScaleImportance(),
}
ARMS = (("sapwood", "defaults"), ("Torch-Pruning", "lamp"), ("Torch-Pruning", "defaults"))
NAMES = {"sapwood": ARMS[0], "lamp": ARMS[1], "defaults": ARMS[2]}


def images(count: int = BATCH) -> torch.Tensor:
    """The first test images, which are timed and traced, not looked at."""
    batch: Batch = resnet20_cifar().data.test.take(torch.arange(count))
    inputs: torch.Tensor = batch.inputs
    return inputs


def peers(importance: object, everywhere: bool, ratio: float) -> ResNetCifar:
    """What the peer makes of the trained network."""
    model = load_trained(DEPTH).eval()
    pruner = tp.pruner.MagnitudePruner(model, images(1), importance=importance, global_pruning=everywhere,
                                       pruning_ratio=ratio, round_to=8, ignored_layers=[model.linear])  # fmt: skip
    pruner.step()
    return model


@cache
def cut(tool: str, options: str) -> nn.Module:
    """The smaller network."""
    if tool == "sapwood":
        return prune(load_trained(DEPTH), images(1), macs=0.5, timing=0).model
    importance, everywhere, ratio = PEERS[options]
    return peers(importance(), everywhere, ratio)


def macs(model: nn.Module) -> int:
    """Multiply-adds of one image."""
    return int(sum(measure.macs(model, images(1)).values()))


def scan() -> None:
    """What each normaliser leaves, by ratio."""
    whole = macs(load_trained(DEPTH))
    for name, importance in SCANNED.items():
        for ratio in (number / 50 for number in range(5, 31)):
            model = peers(importance(), True, ratio)
            print(
                f"{name:10} {ratio:.2f} {macs(model) / whole:.3f}, first stream {model.conv1.out_channels}", flush=True
            )


@cache
def right(tool: str, options: str) -> float:
    """Test accuracy right after the cut; of the dense network for no tool."""
    return accuracy(cut(tool, options) if tool else load_trained(DEPTH))


def accuracy(model: nn.Module) -> float:
    """The share of test images with the right answer."""
    return measure.accuracy(model, resnet20_cifar().data.test.take(slice(None)), k=(1,), batch_size=500)["top1"]


@cache
def faster(arms: tuple[tuple[str, str], ...]) -> dict[tuple[str, str], tuple[float, float]]:
    """{arm: times faster than the dense network in ONNX Runtime and in PyTorch}, all in turn in one process."""
    x, models = images(), {("dense", ""): load_trained(DEPTH), **{arm: deepcopy(cut(*arm)) for arm in arms}}
    cases: dict[str, Callable[..., object]] = {}
    with TemporaryDirectory() as folder:
        for number, (arm, model) in enumerate(models.items()):
            export.to_onnx(model.eval(), x, file := Path(folder) / f"{number}.onnx")
            cases[f"{arm} onnx"], cases[f"{arm} torch"] = measure.in_onnxruntime(file), model
        times = measure.latency(cases, x, rounds=ROUNDS, clock=time.process_time)
    dense = {engine: times[f"{('dense', '')} {engine}"] for engine in ("onnx", "torch")}
    for arm in arms:
        for engine, whole in dense.items():
            found = measure.ratio(whole, times[f"{arm} {engine}"])
            print(f"{arm} {engine}: {found.median:.3f} [{found.lower:.3f}, {found.upper:.3f}]", flush=True)
    ratios = {(arm, e): measure.ratio(whole, times[f"{arm} {e}"]).median for arm in arms for e, whole in dense.items()}
    return {arm: (round(ratios[arm, "onnx"], 3), round(ratios[arm, "torch"], 3)) for arm in arms}


def recovered(model: nn.Module, seed: int, count: int) -> nn.Module:
    """The network after training on `count` images, each seen once an epoch."""
    train, generator = resnet20_cifar().data.train, torch.Generator().manual_seed(seed)
    steps = max(1, count // 128)
    recipe = torch.optim.SGD(model.parameters(), lr=LR, momentum=0.9, weight_decay=1e-4)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(recipe, steps)
    order = torch.cat([torch.randperm(len(train), generator=generator) for _ in range(-(-steps * 128 // len(train)))])
    model.train()
    for which in order[: steps * 128].reshape(steps, 128):
        batch = crop_and_flip(train.take(which), generator)
        recipe.zero_grad()
        torch.autograd.backward(F.cross_entropy(model(batch.inputs), batch.targets))
        recipe.step()
        falling.step()
    return model


def row(tool: str, options: str, seed: int, count: int) -> dict[str, object]:
    """One line of the table."""
    small, whole, began = cut(tool, options), load_trained(DEPTH), time.process_time()
    again = accuracy(recovered(deepcopy(small), seed, count))
    seconds = round(time.process_time() - began)
    in_onnx, in_torch = faster(ARMS)[tool, options]
    sizes = [sum(p.numel() for p in model.parameters()) for model in (small, whole)]
    return dict(zip(COLUMNS, (f"ResNet-{DEPTH}", tool, options, seed, count, macs(small), macs(whole), *sizes,
                right("", ""), right(tool, options), again, in_onnx, in_torch, torch.__version__, seconds, commit()),
                strict=True))  # fmt: skip


def missing(path: Path, names: list[str], seeds: list[int], count: int) -> Iterator[tuple[str, str, int]]:
    """The rows that are not there yet, of what is asked for."""
    there = list(csv.DictReader(path.open(encoding="utf-8"))) if path.is_file() else []
    known = {(each["tool"], each["options"], each["seed"], each["images"]) for each in there}
    for seed in seeds:
        for tool, options in (NAMES[name] for name in names):
            if (tool, options, str(seed), str(count)) not in known:
                yield tool, options, seed


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scan", action="store_true")
    parser.add_argument("--seed", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", default=list(NAMES), choices=list(NAMES), help="rows; all are timed")
    parser.add_argument("--images", type=int, default=45_000)
    parser.add_argument("--csv", type=Path, default=Path("studies/results/half_of_resnet56.csv"))
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    if chosen.scan:
        scan()
    for tool, options, seed in list(missing(chosen.csv, chosen.only, chosen.seed, chosen.images)):
        found = row(tool, options, seed, chosen.images)
        new = not chosen.csv.is_file()
        with chosen.csv.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow(found)
        print(", ".join(f"{name} {value}" for name, value in found.items()), flush=True)
