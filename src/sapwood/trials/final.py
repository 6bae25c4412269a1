"""Final measures: everything that is counted once, when a trial is over."""

import copy
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sapwood.masking import masks as mask
from sapwood.measure import Compression, accuracy, compression, dead_share, flops, spectrum
from sapwood.scoring.answers import hidden
from sapwood.scoring.layers import prunable
from sapwood.scoring.modes import evaluating
from sapwood.training.loop import measured
from sapwood.training.run import Run
from sapwood.training.samples import Batch, Samples

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
    """What the network gets right on the splits in the task's `ends`, how large it is, and what the method noted."""
    network = as_used(run)
    for split in run.task.ends:
        yield from _quality(run, network, split)
    yield from (Measure("network", metric, float(value)) for metric, value in _size(run, network).items())
    shapes = {} if run.task.large else shape(network, run.task.example)
    yield from (Measure("network", metric, float(value)) for metric, value in shapes.items())
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
    samples, task = getattr(run.task.data, split), run.task
    seen: list[Batch] = []

    def noted(model: nn.Module, batch: Batch) -> Tensor:
        outputs = task.forward(model, batch)
        seen.append(Batch(outputs, batch.targets))
        return outputs

    if task.classes is None:
        values = measured(network, task, samples)
    else:
        values = measured(network, replace(task, forward=noted), samples)
        answers = Batch(*(torch.cat([getattr(each, part) for each in seen]) for part in ("inputs", "targets")))
        values |= accuracy(nn.Identity(), answers, k=(5,), class0=True)  # of the same pass
    values |= _extra(run, network, samples)
    yield from (Measure(split, metric, value) for metric, value in values.items())


@torch.no_grad()
def _extra(run: Run, network: nn.Module, samples: Samples) -> dict[str, float]:
    """The task's own measures, each a mean over the samples."""
    sums = dict.fromkeys(run.task.measures, 0.0)
    with evaluating(network):
        for at in range(0, len(samples) if sums else 0, run.task.at_once):
            batch = samples.take(slice(at, at + run.task.at_once))
            for name, measure in run.task.measures.items():
                sums[name] += float(measure(network, batch))
    return {name: value / len(samples) for name, value in sums.items()}


def _size(run: Run, network: nn.Module) -> dict[str, float]:
    """How long it trained, how often it was pruned, and what is left. `zeros` counts weights, not biases.

    `dead` is the share of weights that can not grow back (`measure.dead_share`). Sparsities and ratios are by what the
    network began as: the same one with zeros, or a larger one, whose size is then told as well.
    """
    weights = {name: p for name, p in network.named_parameters() if p.dim() > 1}
    example = run.task.example
    began = _as_begun(run) if run.rebuilt else network
    inner = _inner(network, example)
    whole = sum(w.numel() for w in (_inner(began, example) if run.rebuilt else inner))
    sizes = compression(network, example, reference=began)
    return (
        (_rebuilt(run) if run.rebuilt else {})
        | {
            "epochs": run.step / run.task.steps_per_epoch,
            "steps": run.step,
            "cycles": run.round,
            "zeros": mask.zeros(weights),
            "weights": sum(p.numel() for p in weights.values()),
            "sparsity": run.sparsity(),
            "sparsity_hidden": (whole - sum(int(w.count_nonzero()) for w in inner)) / max(1, whole),
            "dead": dead_share(network, example),
            "flops": flops(network, example),
            "flops_dense": flops(network, example, sparse=False),
        }
        | {each.name: getattr(sizes, each.name) for each in fields(Compression) if each.name != "measured"}
    )


def _as_begun(run: Run) -> nn.Module:
    """A network like the one that the run began with."""
    with torch.random.fork_rng(devices=[]):
        return run.task.model().to(run.device)


def _rebuilt(run: Run) -> dict[str, float]:
    """How large the network was and is: the latter is `weights` and `flops_dense` too, where no layer is hidden."""
    now, was = run.size(), run.reference
    return {
        "parameters": now.parameters,
        "macs": now.macs,
        "reference_parameters": was.parameters,
        "reference_macs": was.macs,
    }


def _inner(network: nn.Module, example: Any) -> list[Tensor]:
    layers = prunable(network)
    return [layers[name].weight for name in _hidden(network, example)]


def shape(network: nn.Module, example: Any) -> dict[str, float]:
    """The ranks and the like of each hidden layer, numbered from 1: rank_1, rank_2, ..."""
    names = _hidden(network, example)
    rows = spectrum(network, only=names) if names else ()
    return {
        f"{metric}_{i}": getattr(row, its) for i, row in enumerate(rows, start=1) for metric, its in SPECTRUM.items()
    }


def _hidden(network: nn.Module, example: Any) -> list[str]:
    return hidden(network, example) if len(prunable(network)) > 1 else []
