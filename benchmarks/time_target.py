"""Time as a target: half of the measured milliseconds of ResNet-20 and ResNet-56, in two engines, for two batches.

The trained networks are asked for `prune(model, batch, ms=0.5, engine=ENGINE)`: PyTorch and ONNX Runtime, batches of 16
and 1, one thread, the processor's clock. What comes back is written to a file and measured anew *in another process*,
beside the whole network, in the same engine. Beside it stands the network that `prune(macs=0.5)` gives, measured
likewise. All are trained on alike: 60 steps, SGD, momentum 0.9, weight decay 1e-4, batches of 128 of 45,000 training
images, moved and mirrored, a learning rate from 0.01 to 0 along half a cosine, seed 0; then the 5,000 validation images
are asked. The networks had seen these when they were first trained, so accuracies are too high; all start from the same
network and none trains on these images, so they can be compared. No test image is looked at.

The rule, written before the first row. A target is met if the other process finds between 47.5 and 52.5 % of the time
left. The rows list the widths that were chosen, so that it can be seen which were not.

Rows are kept in --csv one by one; run again, it goes on with what is missing. Needs
`sapwood[onnx]` and CIFAR-10.
"""

import argparse
import csv
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sapwood import Pruned, export, measure, prune
from sapwood.data.augment import crop_and_flip
from sapwood.export.engines import engine_of
from sapwood.export.timing import side_by_side
from sapwood.models.resnet_cifar import load_trained, resnet_cifar
from sapwood.tasks.resnet20_cifar import resnet20_cifar
from sapwood.trials.provenance import commit

HALF, NEAR, SECONDS, STEPS, BATCH, LR = 0.5, 0.05, 4.0, 60, 128, 0.01
COLUMNS = ("network", "target", "engine", "batch", "left_search", "left_again", "met", "macs", "parameters", "widths",
           "accuracy", "seconds", "load", "torch", "commit")  # fmt: skip
ENGINES, BATCHES, DEPTHS = ("onnxruntime", "pytorch"), (16, 1), (20, 56)
Row = dict[str, object]
Key = tuple[str, str, str, str]


@cache
def images(count: int) -> Tensor:
    """Training images, which are timed and traced."""
    batch: Any = resnet20_cifar().data.train.take(torch.arange(count))
    return batch.inputs  # type: ignore[no-any-return]


@cache
def by_macs(depth: int) -> Pruned:
    """The network that half of the multiply-adds gives."""
    return prune(load_trained(depth), images(1), macs=HALF, timing=0)


def left(file: Path, depth: int, engine: str, batch: int) -> float:
    """The share of the time that is left, as this process measures it."""
    small, whole = export.load(file, partial(resnet_cifar, depth)).eval(), load_trained(depth).eval()
    x = torch.rand(batch, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    runs = [engine_of(engine).of(model, x, 1) for model in (whole, small)]
    return side_by_side(runs[0], runs[1], x, threads=1, seconds=3 * SECONDS).left.median


def left_elsewhere(model: nn.Module, depth: int, engine: str, batch: int) -> float:
    """The same, as another process measures it."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "small.safetensors"
        export.save(model, file, of=load_trained(depth))
        words = [sys.executable, __file__, "--left", str(file), str(depth), engine, str(batch)]
        said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    return float(said.splitlines()[-1])


def widths(pruned: Pruned) -> str:
    """What is left of the sites, {units: {width: how many sites}}."""
    found = dict[int, Counter[int]]()
    for kept in pruned.keep.values():
        found.setdefault(len(kept), Counter())[int(kept.sum())] += 1
    return json.dumps({units: dict(sorted(counts.items())) for units, counts in sorted(found.items())})


def recovered(model: nn.Module) -> float:
    """Validation accuracy after the short recovery."""
    task, generator = resnet20_cifar(), torch.Generator().manual_seed(0)
    recipe = torch.optim.SGD(model.parameters(), lr=LR, momentum=0.9, weight_decay=1e-4)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(recipe, STEPS)
    order = torch.randperm(len(task.data.train), generator=generator)[: STEPS * BATCH].reshape(STEPS, BATCH)
    model.train()
    for which in order:
        batch = crop_and_flip(task.data.train.take(which), generator)
        recipe.zero_grad()
        torch.autograd.backward(F.cross_entropy(model(batch.inputs), batch.targets))
        recipe.step()
        falling.step()
    return measure.accuracy(model.eval(), task.data.valid.take(slice(None)), k=(1,), batch_size=500)["top1"]


@cache
def recovered_by_macs(depth: int) -> float:
    """The same of the network that half of the multiply-adds gives, measured once."""
    return recovered(deepcopy(by_macs(depth).model))


def row(depth: int, target: str, engine: str, batch: int) -> Row:
    """One line."""
    began, load = time.process_time(), Path("/proc/loadavg").read_text().split()[0]
    if target == "ms":
        pruned = prune(load_trained(depth), images(batch), ms=HALF, engine=engine, timing=SECONDS)
        assert pruned.times is not None
        search: object = round(pruned.times.left.median, 4)
    else:
        pruned, search = by_macs(depth), ""
    again = left_elsewhere(pruned.model, depth, engine, batch)
    accuracy = recovered(deepcopy(pruned.model)) if target == "ms" else recovered_by_macs(depth)
    met = abs(again / HALF - 1) <= NEAR
    macs = sum(measure.macs(pruned.model, images(1)).values()) / sum(
        measure.macs(load_trained(depth), images(1)).values()
    )
    return {"left_search": search, "left_again": round(again, 4), "met": met, "macs": round(macs, 4),
            "parameters": pruned.after.parameters, "widths": widths(pruned), "accuracy": round(accuracy, 4),
            "seconds": round(time.process_time() - began), "load": load}  # fmt: skip


def missing(known: set[Key], depths: list[int]) -> Iterator[tuple[int, str, str, int]]:
    """The rows that are not there yet."""
    for depth in depths:
        for batch in BATCHES:
            for engine in ENGINES:
                for target in ("ms", "macs"):
                    if (f"ResNet-{depth}", target, engine, str(batch)) not in known:
                        yield depth, target, engine, batch


def main() -> None:
    """The rows that are missing, one by one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--csv", type=Path, help="where rows are kept; without it they are printed only")
    parser.add_argument("--depth", type=int, nargs="+", default=list(DEPTHS), choices=DEPTHS)
    parser.add_argument("--left", nargs=4, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    if chosen.left:
        file, depth, engine, batch = chosen.left
        print(left(Path(file), int(depth), engine, int(batch)))
        return
    kept = chosen.csv is not None and chosen.csv.is_file()
    there = list(csv.DictReader(chosen.csv.open(encoding="utf-8"))) if kept else []
    known = {(r["network"], r["target"], r["engine"], r["batch"]) for r in there}
    for depth, target, engine, batch in missing(known, chosen.depth):
        about = {"network": f"ResNet-{depth}", "target": target, "engine": engine, "batch": batch}
        found = {**about, **row(depth, target, engine, batch), "torch": torch.__version__, "commit": commit()}
        print(", ".join(str(value) for value in found.values()), flush=True)
        if chosen.csv is not None:
            new = not chosen.csv.is_file()
            with chosen.csv.open("a", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
                if new:
                    writer.writeheader()
                writer.writerow(found)


if __name__ == "__main__":
    main()
