"""Significance: which inputs and outputs of a product can do with fewer of its components than the others."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from sapwood.currency import Keep, Masks
from sapwood.methods.parts.components import pair
from sapwood.methods.parts.ranking import drawn
from sapwood.scoring.modes import evaluating
from sapwood.shrinking.tracing.site import Site
from sapwood.training.draws import luck
from sapwood.training.run import Run

SIGNIFICANCES = ("weights", "activations", "luck")
Ends = dict[str, tuple[Tensor, Tensor]]  # {site: something of each of a product's inputs [I], of its outputs [O]}


@torch.no_grad()
def significance(run: Run, found: Sequence[Site], by: str, samples: int) -> Ends:
    """How much each input and each output of every product matters.

    `by` "weights": Σ |w| over its column or row of the product; "activations": Σ |a| over so many training samples, of
    a symbol how often it is read; "luck": numbers drawn by the run's seed.
    """
    lots, seen = luck(run.seed, "significance"), dict[str, list[Tensor]]()
    if by == "activations":
        seen = _watched(run, found, samples)
    for site in found if by != "activations" else ():
        left_OK, right_KI = pair(run.model, site)
        w = (left_OK.double() @ right_KI.double()).abs()
        seen[site.name] = (
            [w.sum(0), w.sum(1)] if by == "weights" else [torch.rand(n, generator=lots) for n in w.T.shape]
        )
    return {name: (inputs, outputs) for name, (inputs, outputs) in seen.items()}


def least(ends: Ends, reduced: float) -> Ends:
    """The places of floor(`reduced` * n) of n inputs, and of n outputs, that matter least; of equals the first."""
    first = {name: [a.argsort(stable=True)[: int(reduced * len(a))] for a in both] for name, both in ends.items()}
    return {name: (inputs, outputs) for name, (inputs, outputs) in first.items()}


def zeros(keep: Keep, low: Ends, lower: float) -> int:
    """How many numbers are 0 where the inputs and outputs in `low` have only the share `lower` of what stays."""
    counts = {name: int(kept.sum()) for name, kept in keep.items()}
    return sum((k - int(lower * k)) * sum(map(len, low[name])) for name, k in counts.items())


def tails(model: nn.Module, found: Sequence[Site], low: Ends, lower: float) -> Masks:
    """Masks, {parameter: bool}: inputs and outputs in `low` have the first floor(`lower` * K) components only."""
    named = {slot.tensor for site in found for slot in site.slots}
    masks = {name: torch.ones_like(p, dtype=torch.bool) for name, p in model.named_parameters() if name in named}
    for site in found:
        left_OK, right_KI = pair(masks, site)
        inputs, outputs = low[site.name]
        left_OK[outputs.to(left_OK.device), int(lower * site.units) :] = False
        right_KI[int(lower * site.units) :, inputs.to(right_KI.device)] = False
    return masks


def _watched(run: Run, found: Sequence[Site], samples: int) -> dict[str, list[Tensor]]:
    """Sums over training samples of what goes into each product and of what comes out, without signs."""
    sums, hooks = dict[str, list[Tensor]](), []
    for site in found:
        (made,), (read,) = site.at("makes"), site.at("reads")
        first, last = (run.model.get_submodule(slot.tensor.rpartition(".")[0]) for slot in (made, read))
        sums[site.name] = [torch.zeros(()), torch.zeros(())]
        hooks.append(first.register_forward_pre_hook(partial(_reading, sums[site.name])))
        hooks.append(last.register_forward_hook(partial(_giving, sums[site.name])))
    try:
        with evaluating(run.model):
            for batch in drawn(run, samples, "significance"):
                run.task.forward(run.model, batch)
    finally:
        for hook in hooks:
            hook.remove()
    return sums


def _reading(sums: list[Tensor], layer: nn.Module, given: tuple[Any, ...]) -> None:
    (x,) = given
    if isinstance(layer, nn.Embedding):
        x = nn.functional.one_hot(x, layer.num_embeddings)
    sums[0] = sums[0].to(x.device) + x.abs().flatten(0, -2).double().sum(0)


def _giving(sums: list[Tensor], layer: nn.Module, given: tuple[Any, ...], y: Tensor) -> None:
    sums[1] = sums[1].to(y.device) + y.abs().flatten(0, -2).double().sum(0)
