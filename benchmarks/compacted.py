"""Compacted: how large and how fast pruned networks of the paper's study are once their dead neurons are taken out.

Reads the trained networks of `sapwood run activation_pruning --scale paper` in a results folder; run it with nothing
beside it. Time: the compacted network over the pruned one of full shape, interleaved, one thread, batch 256.
"""

import argparse
import csv
from pathlib import Path

import torch

from sapwood import checkpoint, compact, measure
from sapwood.study.earlier import as_found
from sapwood.study.study import find
from sapwood.tasks import TASKS
from sapwood.trials.provenance import commit
from sapwood.trials.trial import Trial

ARMS = ("G1", "G4", "G6", "L1", "L2")
BATCH, ROUNDS = 256, 300
COLUMNS = ("arm", "seed", "trial", "widths", "parameters", "parameters_before", "difference", "accuracy",
           "accuracy_before", "time_ratio", "time_low", "time_high", "commit")  # fmt: skip


def compacted(trial: Trial, folder: Path) -> dict[str, object]:
    """One network before and after; `difference` is the largest relative one of their outputs in float64."""
    task = TASKS[trial.task]()
    before, (images, labels) = task.model(), task.data.test.take(slice(None))
    before.load_state_dict(checkpoint.read(folder / trial.id / "weights.safetensors")["model"])
    small = compact(before, example=images[:2])
    networks = {"small": small.model, "before": before}
    right = {name: float((each(images).argmax(1) == labels).double().mean()) for name, each in networks.items()}
    times = measure.latency(networks, images[:BATCH], rounds=ROUNDS)
    ratio = measure.ratio(times["small"], times["before"])
    sizes = {name: sum(p.numel() for p in each.parameters()) for name, each in networks.items()}
    shapes = [p.shape for p in small.model.parameters() if p.dim() > 1]
    widths = "-".join(str(n) for n in (shapes[0][1], *(shape[0] for shape in shapes)))
    found = (trial.arm, trial.seed, trial.id, widths, sizes["small"], sizes["before"], small.difference,
             right["small"], right["before"], ratio.median, ratio.lower, ratio.upper, commit())  # fmt: skip
    return dict(zip(COLUMNS, found, strict=True))


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("folder", type=Path, nargs="?", default=Path("results/activation_pruning"))
    options.add_argument("--csv", type=Path)
    chosen = options.parse_args()
    torch.set_num_threads(1)
    mine = [t for t in find("activation_pruning").at("paper") if t.arm in ARMS and t.seed == 0]
    wanted = as_found(mine, chosen.folder)
    there = [t for t in wanted if (chosen.folder / t.id / "weights.safetensors").exists()]
    print(f"{len(there)} of {len(wanted)} networks are in {chosen.folder}")
    with torch.no_grad():
        lines = [compacted(trial, chosen.folder) for trial in there]
    for line in lines:
        print(", ".join(f"{name} {line[name]}" for name in COLUMNS))
    if chosen.csv and lines:
        with chosen.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(lines)
