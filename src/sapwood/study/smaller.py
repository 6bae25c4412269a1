"""Smaller: what a study's pruned network is for - written small beside the report, and timed beside the dense one."""

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path

import torch
from torch import nn

from sapwood import disk
from sapwood.export import save
from sapwood.masking import masks as mask
from sapwood.measure import latency, ratio
from sapwood.shrinking.shrunk import compact
from sapwood.study.table import by_seed, read
from sapwood.tasks import TASKS
from sapwood.trials.folder import WEIGHTS, over, weights_of
from sapwood.trials.provenance import device_name
from sapwood.trials.trial import Trial

FILE, SAID = "smaller.safetensors", "smaller.txt"


def smaller(folder: Path, pruned: Trial, dense: Trial) -> list[str]:
    """Write the network of a finished trial without what its zeros made useless into `folder`; lines that say so.

    They have its parameters, milliseconds and test accuracy beside those of the `dense` trial, and are kept in the
    folder for the report. Nothing is written, and one line says why, where the trials' weights are not: kept results
    have none.
    """
    if missing := _missing(folder, pruned, dense):
        return [f"no smaller network is written: {missing}"]
    task = TASKS[pruned.task]()
    inputs = task.data.test.take(slice(0, None)).inputs
    full, cut = (_network(task.model(), folder / trial.id) for trial in (dense, pruned))
    small = compact(cut, {}, example=task.data.test.take(slice(0, 2)).inputs).model
    save(small, folder / FILE, of=full)
    times = latency({"dense": full, "smaller": small}, inputs, rounds=100)
    gain = ratio(times["dense"], times["smaller"])
    sizes = [sum(p.numel() for p in model.parameters()) for model in (full, small)]
    seen = by_seed(read(folder, (pruned.id, dense.id)), "accuracy", "test", by="trial")
    right = [seen[trial.id][trial.seed] for trial in (dense, pruned)]
    lines = [
        f"the network of arm {pruned.arm}, seed {pruned.seed}, without its removed neurons, beside the dense one:",
        _line("parameters", [f"{size:,}" for size in sizes], f"{sizes[0] / sizes[1]:.1f} times fewer"),
        _line("milliseconds", [f"{1e3 * times[name].median:.3f}" for name in ("dense", "smaller")],
              f"{gain.median:.1f} times as fast ({gain.lower:.1f} to {gain.upper:.1f}), {gain.batch} images at once, "
              f"one thread, {device_name(torch.device('cpu'))}"),
        _line("test accuracy", [f"{value:.3f}" for value in right], f"of {gain.batch} images, one seed"),
        f"written: {folder / FILE}",
    ]  # fmt: skip
    disk.replace(folder / SAID, "\n".join(lines).encode())
    return lines


def said(folder: Path) -> list[str]:
    """The lines about the smaller network that was written into `folder`; none where none was."""
    return disk.read(folder / SAID).decode().splitlines() if disk.there(folder / SAID) else []


def _missing(folder: Path, pruned: Trial, dense: Trial) -> str:
    """Why there are no weights of both trials; "" if there are."""
    if all(disk.there(folder / trial.id / WEIGHTS) for trial in (pruned, dense)):
        return ""
    open_ = [trial.arm for trial in (pruned, dense) if not over(folder / trial.id)]
    if not open_:
        return "these results are kept ones, without weights"
    return f"it is made of arms {pruned.arm} and {dense.arm}, seed {pruned.seed}; not finished: {', '.join(open_)}"


def _network(model: nn.Module, trial: Path) -> nn.Module:
    """The trial's network at its full size, with zeros where its masks say so."""
    saved = weights_of(trial)
    model.load_state_dict(saved["model"])
    network = deepcopy(model)
    mask.apply_(dict(network.named_parameters()), saved["masks"])
    return network


def _line(what: str, both: Sequence[str], more: str) -> str:
    return f"  {what:14}{both[0]:>8} → {both[1]:>7}   {more}"
