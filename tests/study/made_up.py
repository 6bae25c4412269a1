"""Made-up results of the paper's study: rows as its trials would leave them, weights, costs. What these tests share."""

import importlib
import math
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.text import Text

from sapwood import checkpoint
from sapwood.study import spectra as spectra
from sapwood.study.cost import Cost, write
from sapwood.study.plots import STYLE
from sapwood.study.study import find

FOLDER = Path(__file__).parents[2] / "studies" / "activation_pruning"
STUDY = find(str(FOLDER / "__init__.py"))
PACKAGE = "sapwood_study_activation_pruning"
figures, extras, arms, printed = (
    importlib.import_module(f"{PACKAGE}.{name}") for name in ("figures", "extras", "arms", "printed")
)
FIGURES = {figure.title: figure for figure in figures.FIGURES}
SIZES = (6, 5, 4, 3)  # singular values of each hidden layer
LENGTH = 8  # epochs of every made-up run but those that end early
PRUNES = 10


def trials(seeds):
    return [trial for trial in arms.trials("paper") if trial.seed < seeds]


@cache
def made(seeds=2, sizes=SIZES, length=LENGTH):
    """Rows as those trials would leave them, of random numbers in the range of real ones."""
    rng = np.random.default_rng(0)
    return tuple(row for trial in trials(seeds) for row in _of(trial, rng, sizes, length))


def _of(trial, rng, sizes, length):
    def row(split, metric, value, epoch=length, phase=0):
        return {
            "trial": trial.id, "row": trial.arm, "method": trial.method, "task": trial.task, "seed": trial.seed,
            "step": 10 * epoch, "epoch": epoch, "phase": phase, "split": split, "metric": metric, "value": value,
        }  # fmt: skip

    ends_at = length - trial.seed  # later seeds end earlier
    for epoch in range(1, ends_at + 1):
        yield row("train", "accuracy", 1 - 0.4 * math.exp(-epoch / 4) - 0.02 * rng.random(), epoch)
        yield row("valid", "accuracy", 0.88 - 0.3 * math.exp(-epoch / 4) - 0.02 * rng.random(), epoch)
        if trial.arm.startswith("V "):
            for layer, size in enumerate(sizes, start=1):
                yield row("network", f"nuclear_{layer}", size * (1 + rng.random()), epoch)
                yield row("network", f"effective_rank_{layer}", size * (0.5 + 0.5 * rng.random()), epoch)
    if trial.arm in arms.PRUNING:
        for prune in range(1, PRUNES + 1):
            yield from _pruned(row, prune, rng, sizes)
    best = 0.84 if trial.arm.startswith(("G1 PCA", "G5 PCA")) else 0.86 + 0.03 * rng.random()
    yield row("test", "accuracy", best - 0.005 * rng.random(), phase=None)
    zeros = (printed.PRINTED[5].get(trial.arm.removesuffix(" released"), {}).get("zeros") or 30.0) / 100
    yield row("network", "sparsity", zeros, phase=None)
    yield row("network", "dead", 0.9 * zeros, phase=None)
    yield row("network", "steps", 10 * ends_at, phase=None)


def _pruned(row, prune, rng, sizes):
    for layer, size in enumerate(sizes, start=1):
        alive = max(1, round(size * (1 - 0.08 * prune)))
        before = np.sort(1 + 2 * rng.random(size))[::-1]
        before[max(1, round(size * (1.08 - 0.08 * prune))) :] = 0
        after = np.where(np.arange(size) < alive, before * (1 - 0.3 * rng.random(size)), 5e-4 * (before > 0))
        for i, (was, now) in enumerate(zip(before, after, strict=True), start=1):
            yield row("before prune", f"sigma_{layer}_{i}", float(was), prune + 1)
            yield row("after prune", f"sigma_{layer}_{i}", float(now), prune + 1)
    yield row("prune", "round", prune, prune + 1)
    yield row("prune", "sparsity", 0.08 * prune, prune + 1)


def with_maps(folder, seed=0, shape=((6, 9), (5, 6), (4, 5), (3, 4))):
    """The four networks' weights where their trials leave them."""
    found = [trial for trial in trials(seed + 1) if trial.arm in extras.MAPPED_ARMS and trial.seed == seed]
    generator = torch.Generator().manual_seed(3)
    for trial in found:
        weights = {
            name: torch.randn(size, generator=generator) * (torch.rand(size, generator=generator) > 0.6)
            for name, size in zip(figures.PARAMETERS, shape, strict=True)
        }
        (folder / trial.id).mkdir(parents=True)
        checkpoint.write(folder / trial.id / "weights.safetensors", {"model": weights, "masks": {}})
        (folder / trial.id / "done").write_text("{}")
    return {trial.arm: trial.id for trial in found}


def with_costs(folder):
    """Costs that grow as weights to the power 1 and 1.5; memory as weights."""
    found = [
        Cost(kind, size, metric, value)
        for kind, power in (("Neurons", 1.0), ("sort all weights", 1.5))
        for size in (10**4, 10**5, 10**6, 10**7)
        for metric, value in (("seconds", 3e-9 * size**power), ("bytes", 8.0 * size))
    ]
    write(found, folder / "cost.csv")


def figure(words):
    """The one figure whose title begins so."""
    (found,) = (each for title, each in FIGURES.items() if title.startswith(words))
    return found


def drawn(words, rows, folder=Path("nowhere")):
    with matplotlib.rc_context(STYLE):
        return figure(words).draw(rows, folder)


def written(drawing):
    """All words in a drawing."""
    return "\n".join(text.get_text() for text in drawing.findobj(Text) if text.get_visible())


def lines(axes):
    """Name in the legend -> the line."""
    handles, names = axes.get_legend_handles_labels()
    return dict(zip(names, handles, strict=True))


def points(line):
    return list(zip(line.get_xdata(), line.get_ydata(), strict=True))
