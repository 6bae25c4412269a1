"""Final measures: everything that is counted once, when a trial is over."""

import copy
from collections.abc import Iterator
from dataclasses import fields
from typing import Any, NamedTuple

from torch import nn

from sapwood.masking import masks as mask
from sapwood.measure import Compression, accuracy, compression, dead_share, flops, spectrum
from sapwood.scoring.answers import hidden
from sapwood.scoring.layers import prunable
from sapwood.training.loop import measured
from sapwood.training.run import Run

SPECTRUM = {  # the metric's name in a row, before the layer's number -> its name in a Spectrum
    "rank": "rank",
    "rank_at_1_percent": "rank_at_1_percent",
    "stable_rank": "stable_rank",
    "effective_rank": "effective_rank",
    "nuclear": "nuclear_norm",
    "live": "live_columns",
}


class Measure(NamedTuple):
    """One number about a finished trial."""

    split: str
    metric: str
    value: float


def final_measures(run: Run) -> Iterator[Measure]:
    """What the network gets right on each split, how large it is in every sense, and what the method noted."""
    network = as_used(run)
    for split in ("train", "valid", "test"):
        yield from _quality(run, network, split)
    yield from (Measure("network", metric, float(value)) for metric, value in _size(run, network).items())
    yield from (
        Measure("network", metric, float(value))
        for metric, value in shape(network, run.task.data.test.inputs[:1]).items()
    )
    yield from (Measure("note", name, float(value)) for name, value in sorted(run.notes.items()))


def as_used(run: Run) -> nn.Module:
    """The network as it answers: with the masks in force applied to the weights themselves."""
    if not run.dense:
        return run.model
    network = copy.deepcopy(run.model)
    mask.apply_(dict(network.named_parameters()), run.masks)
    return network


def _quality(run: Run, network: nn.Module, split: str) -> Iterator[Measure]:
    """Loss and the task's metrics; for classification also true top-5, and the columns that only look like top-k."""
    samples = getattr(run.task.data, split)
    values = measured(network, run.task, samples)
    if run.task.classes is not None:
        values |= accuracy(network, samples, k=(5,), class0=True)
    yield from (Measure(split, metric, value) for metric, value in values.items())


def _size(run: Run, network: nn.Module) -> dict[str, float]:
    """How long it trained, how often it was pruned, and what is left. `zeros` counts weights, not biases.

    `dead` is the share of weights that can not grow back (`measure.dead_share`).
    """
    weights = {name: p for name, p in network.named_parameters() if p.dim() > 1}
    example, layers = run.task.data.test.inputs[:1], prunable(network)
    inner = {name: layers[name].weight for name in _hidden(network, example)}
    sizes = compression(network, example)
    return {
        "epochs": run.step / run.task.steps_per_epoch,
        "steps": run.step,
        "cycles": run.round,
        "zeros": mask.zeros(weights),
        "weights": sum(p.numel() for p in weights.values()),
        "sparsity": run.sparsity(),
        "sparsity_hidden": mask.zeros(inner) / max(1, sum(w.numel() for w in inner.values())),
        "dead": dead_share(network, example),
        "flops": flops(network, example),
        "flops_dense": flops(network, example, sparse=False),
    } | {each.name: getattr(sizes, each.name) for each in fields(Compression) if each.name != "measured"}


def shape(network: nn.Module, example: Any) -> dict[str, float]:
    """The ranks and the like of each hidden layer, numbered from 1: rank_1, rank_2, ..."""
    names = _hidden(network, example)
    rows = spectrum(network, only=names) if names else ()
    return {
        f"{metric}_{i}": getattr(row, its) for i, row in enumerate(rows, start=1) for metric, its in SPECTRUM.items()
    }


def _hidden(network: nn.Module, example: Any) -> list[str]:
    return hidden(network, example) if len(prunable(network)) > 1 else []
