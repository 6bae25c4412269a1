"""How much, by which criterion, how long to train on: the small network that comes with sapwood, pruned and recovered.

For every share of the multiply-adds, every criterion and three seeds: `prune` the trained network, then train on for
ten epochs at a constant rate, with test accuracy right after the cut, recalibrated, and after 1, 3 and 10 epochs. The
seed is that of the training's order, and of random scores. Nothing was tuned, and this is a small network on small
images: the shape of a curve may carry over to yours, its numbers do not.

python benchmarks/how_much.py                          prints lines of studies/results/how_much.csv; minutes on one core
python benchmarks/how_much.py --csv studies/results/how_much.csv     writes them
"""

import argparse
import csv
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sapwood import CRITERIA, Batch, Data, luck, measure, observe, prune, sites
from sapwood.models.trained_digits import trained_digits
from sapwood.trials.provenance import commit

SHARES = (0.8, 0.65, 0.5, 0.35, 0.25, 0.15)
BY = ("norm", "magnitude", "lamp", "mean_activation", "snip", "random")
SEEDS = (0, 1, 2)
EPOCHS = (1, 3, 10)
LR, MOMENTUM, BATCH = 0.01, 0.9, 32


def lines(model: nn.Module, data: Data, share: float, by: str, seed: int) -> Iterator[dict[str, object]]:
    """What one network reaches, moment by moment."""
    train, test = (part.take(slice(None)) for part in (data.train, data.test))
    pruned = prune(model, test.inputs[:64], macs=share, timing=0, **_asked(model, by, train, seed))
    left = (pruned.after.macs or 0) / (pruned.before.macs or 1)
    about = {"share": share, "macs": round(left, 4), "by": by, "seed": seed}

    def line(when: str, network: nn.Module) -> dict[str, object]:
        return about | {"when": when, "accuracy": round(_right(network, test), 4)}

    yield line("cut", pruned.model)
    recalibrated = deepcopy(pruned.model)
    measure.recalibrate(recalibrated, [train.inputs])
    yield line("recalibrated", recalibrated)
    optimizer = torch.optim.SGD(pruned.model.parameters(), lr=LR, momentum=MOMENTUM)
    for epoch in range(1, max(EPOCHS) + 1):
        for at in torch.randperm(len(train), generator=luck(seed, "order", epoch)).split(BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(pruned.model.train()(train.inputs[at]), train.targets[at]).backward()
            optimizer.step()
        if epoch in EPOCHS:
            yield line(f"{epoch} epochs", pruned.model)


def _asked(model: nn.Module, by: str, train: Batch, seed: int) -> dict[str, Any]:
    """What `prune` is told about the criterion."""
    if by == "random":
        draw = luck(seed, "random scores")
        return {"by": {site.name: torch.rand(site.units, generator=draw) for site in sites(model, train.inputs[:1])}}
    batch = Batch(train.inputs[:512], train.targets[:512])

    def loss(outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        return nn.functional.cross_entropy(outputs, batch.targets, reduction="sum")

    needs = CRITERIA[by].needs if by in CRITERIA else ()
    return {"by": by, "evidence": observe(model, [batch], *needs, loss=loss) if needs else None}


def _right(network: nn.Module, test: Batch) -> float:
    return measure.accuracy(network.eval(), test, k=(1,), batch_size=500)["top1"]


def main() -> None:
    """All of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--csv", type=Path, help="write the lines here")
    path = parser.parse_args().csv
    model, data = trained_digits()
    made = commit()
    whole = {"share": 1.0, "macs": 1.0, "by": "", "seed": "", "when": "before",
             "accuracy": round(_right(model, data.test.take(slice(None))), 4)}  # fmt: skip
    found = [whole]
    for by in BY:
        for share in SHARES:
            for seed in SEEDS:
                found += lines(model, data, share, by, seed)
                print(found[-1], flush=True)
    if path:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [*whole, "commit"], lineterminator="\n")
            writer.writeheader()
            writer.writerows(line | {"commit": made} for line in found)


if __name__ == "__main__":
    main()
