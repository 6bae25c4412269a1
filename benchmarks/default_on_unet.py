"""Which criterion `prune` should have by default, asked of a network that is narrow at both ends: a small U-Net.

`default_by.py` asks residual networks for classification, whose last layers are the widest. In a U-Net the last layers
are narrow and work on the whole image, so a score that adds up weights finds their units small and takes them first.
Squares of two kinds on noise are segmented; half of the multiply-adds go, `prune`'s own way, widths by 8; what is left
is trained on for 6 epochs at the rate that it was trained at. Mean intersection over union of 96 fresh images, five
seeds, each with its own dense network. Everything is drawn here; nothing is read.

The rule, written before the first row: whatever `default_by.py` finds, a criterion is the default only if it is not
more than 0.05 below the best one here, mean over seeds. If the one that it names is further below and today's
is not, today's stays. If both are, the one that it names becomes the default all the same, and the pages say which of
the three to take for networks like this.

*A second look*, written after seeds 0 to 4 (sum 0.46, L2 0.42, LAMP 0.91: neither is fit) and before its own rows:
`prune` now removes the best half of a layer that all has to pass last, where it was the best quarter, which changes
nothing in the residual networks of `default_by.py`. `--seed 5 6 7 8 9`, judged by the same rule, by these seeds alone.

*A third look*, written after seeds 5 to 9 (sum 0.69, L2 0.68, LAMP 0.91: still neither) and before its own rows: `norm`
is L2 in residual branches, as before; in layers that all has to pass it is a unit's share of the layer's, so that
narrow layers count as much as wide ones. In the networks of `default_by.py` it chooses what L2 chooses. On seeds 10 to
14, which judge nothing, shares of L2 left the U-Net at 0.98. `--seed 20 21 22 23 24`, judged by the same rule, by
these seeds alone.

    python benchmarks/default_on_unet.py            # about 20 CPU seconds a row; goes on with what is missing
    python benchmarks/default_on_unet.py --summary
"""

import argparse
import csv
import statistics
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sapwood import per_unit, prune, sites
from sapwood.export.worth import By
from sapwood.trials.provenance import commit

WIDTH, SIDE, CLASSES, BATCH, LR, FIRST, AFTER = 32, 32, 3, 16, 2e-3, 5, 6
COLUMNS = ("by", "seed", "macs", "parameters", "widths", "dense", "after_cut", "recovered", "torch", "commit")
CANDIDATES = ("sum", "l2", "lamp", "norm")


def twice(before: int, width: int) -> nn.Sequential:
    """Two convolutions, each with its norm."""
    return nn.Sequential(
        nn.Conv2d(before, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
    )  # fmt: skip


class UNet(nn.Module):
    """Two steps down, two steps up, with what was on the way down beside."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.bottom = twice(3, WIDTH), twice(WIDTH, 2 * WIDTH), twice(2 * WIDTH, 4 * WIDTH)
        self.up_second = nn.ConvTranspose2d(4 * WIDTH, 2 * WIDTH, 2, stride=2)
        self.up_first = nn.ConvTranspose2d(2 * WIDTH, WIDTH, 2, stride=2)
        self.then_second, self.then_first = twice(4 * WIDTH, 2 * WIDTH), twice(2 * WIDTH, WIDTH)
        self.head = nn.Conv2d(WIDTH, CLASSES, 1)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Logits for each pixel."""
        first_NCHW = self.first(x_NCHW)
        second_NCHW = self.second(F.max_pool2d(first_NCHW, 2))
        bottom_NCHW = self.bottom(F.max_pool2d(second_NCHW, 2))
        second_NCHW = self.then_second(torch.cat([self.up_second(bottom_NCHW), second_NCHW], 1))
        first_NCHW = self.then_first(torch.cat([self.up_first(second_NCHW), first_NCHW], 1))
        y_NCHW: Tensor = self.head(first_NCHW)
        return y_NCHW


class Scenes(NamedTuple):
    """Images, and what each pixel shows."""

    x_NCHW: Tensor
    y_NHW: Tensor


def scenes(count: int, seed: int) -> Scenes:
    """A square of 8 in one colour and one of 10 in another, the second in front, on noise."""
    generator = torch.Generator().manual_seed(seed)
    x_NCHW = 0.5 * torch.randn(count, 3, SIDE, SIDE, generator=generator)
    y_NHW = torch.zeros(count, SIDE, SIDE, dtype=torch.long)
    for n in range(count):
        for shown in (1, 2):
            side = 6 + 2 * shown
            top, left = torch.randint(2, SIDE - 12, (2,), generator=generator).tolist()
            x_NCHW[n, shown, top : top + side, left : left + side] += 1.2
            y_NHW[n, top : top + side, left : left + side] = shown
    return Scenes(x_NCHW, y_NHW)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, on: Scenes, epochs: int, seed: int) -> None:
    """Some epochs at a constant rate."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for which in torch.split(torch.randperm(len(on.y_NHW), generator=generator), BATCH):
            optimizer.zero_grad()
            torch.autograd.backward(F.cross_entropy(model.train()(on.x_NCHW[which]), on.y_NHW[which]))
            optimizer.step()


def overlap(model: nn.Module, on: Scenes) -> float:
    """Intersection over union, mean over the classes."""
    with torch.no_grad():
        found = model.eval()(on.x_NCHW).argmax(1)
    both = [((found == c) & (on.y_NHW == c)).sum() / ((found == c) | (on.y_NHW == c)).sum() for c in range(CLASSES)]
    return round(float(sum(both)) / CLASSES, 4)


def scored(model: nn.Module, by: str, example: Tensor) -> By:
    """What `prune` is given."""
    if by in ("lamp", "norm"):
        return by
    found, power = sites(model, example), 1 if by == "sum" else 2
    sizes = {n: p.detach().double().abs() ** power for n, p in model.named_parameters() if p.dim() > 1}
    return {site: each ** (1 / power) for site, each in per_unit(sizes, found, touching="both").items()}


def rows_of(seed: int, names: list[str]) -> list[dict[str, object]]:
    """One dense network, cut by each criterion."""
    torch.manual_seed(seed)
    model, seen, fresh = UNet(), scenes(192, 2 * seed), scenes(96, 2 * seed + 1)
    train(model, optimizer := torch.optim.AdamW(model.parameters(), lr=LR), seen, FIRST, seed)
    dense, example = overlap(model, fresh), seen.x_NCHW[:1]
    rows = list[dict[str, object]]()
    for by in names:
        pruned = prune(model, example, macs=0.5, by=scored(model, by, example), optimizer=optimizer, timing=0)
        assert pruned.optimizer is not None
        widths = " ".join(f"{site}={int(keep.sum())}" for site, keep in pruned.keep.items())
        size, after = sum(p.numel() for p in pruned.model.parameters()), overlap(pruned.model, fresh)
        train(pruned.model, pruned.optimizer, seen, AFTER, seed + 100)
        macs = round((pruned.after.macs or 0) / (pruned.before.macs or 1), 4)
        made = (by, seed, macs, size, widths, dense, after, overlap(pruned.model, fresh), torch.__version__, commit())
        rows.append(dict(zip(COLUMNS, made, strict=True)))
    return rows


def main() -> None:
    """All rows that are missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--summary", action="store_true")
    parser.add_argument("--csv", type=Path, default=Path("studies/results/default_on_unet.csv"))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    there = list(csv.DictReader(asked.csv.open(encoding="utf-8"))) if asked.csv.is_file() else []
    if asked.summary:
        for by in CANDIDATES:
            each = [float(row["recovered"]) for row in there if row["by"] == by and int(row["seed"]) in asked.seed]
            if each:
                print(f"{by:6} {statistics.fmean(each):.3f}, lowest {min(each):.3f} ({len(each)} seeds)")
        return
    for seed in asked.seed:
        missing = [by for by in CANDIDATES if (by, str(seed)) not in {(row["by"], row["seed"]) for row in there}]
        found = rows_of(seed, missing) if missing else []
        new = not asked.csv.is_file()
        with asked.csv.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writerows([*[dict[str, object](zip(COLUMNS, COLUMNS, strict=True))] * new, *found])
        print(*found, sep="\n", flush=True)


if __name__ == "__main__":
    main()
