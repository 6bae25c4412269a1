"""Adaptivity: what decisions for each sample cost, how they differ, and what they are worth beside other masks.

distance    the mean share of units in which the masks of two samples differ, over all pairs; within and between classes
swapped     every sample under the masks of another, drawn by luck
frequent    every sample under one mask: of each site as many units as are open on average, those most often open
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sapwood.errors import InputError
from sapwood.gates import Gated, Saliency
from sapwood.scoring.layout import Layer, Straight
from sapwood.scoring.modes import evaluating
from sapwood.selection import select
from sapwood.shrinking.cost import Cost
from sapwood.shrinking.finding import sites
from sapwood.shrinking.tracing.site import Site
from sapwood.training.draws import luck
from sapwood.training.loop import measured
from sapwood.training.run import Run
from sapwood.training.samples import Batch

Masks = Mapping[str, Tensor]  # {site: [samples, units]}


def deciding(run: Run, found: Sequence[Site]) -> dict[str, tuple[Site, int]]:
    """The sites whose units each sample is to choose, {name: (site, channels that its layer reads)}.

    Those of convolutions, without any of linear layers; the network's first layer is not among them.
    """
    first, layers = sites(run.apart.several)[0].name, dict(run.model.named_modules())
    makers = {site.name: (site, layers.get(site.name)) for site in found if site.name != first}
    kinds = (Straight, nn.Linear)
    for kind in kinds:
        if chosen := {name: (site, _reads(layer)) for name, (site, layer) in makers.items() if isinstance(layer, kind)}:
            return chosen
    raise InputError(f"{type(run.model).__name__} has no layer but its first whose units it alone makes; "
                     "nothing is left to decide for a sample")  # fmt: skip


def _reads(layer: nn.Module | None) -> int:
    weight = cast(Layer, layer).weight
    return weight.shape[1] * int(getattr(layer, "groups", 1))


@dataclass(frozen=True)
class Priced:
    """A network with saliency gates, and the cost of its sites."""

    gated: Gated
    cost: Cost

    def gates(self) -> dict[str, Saliency]:
        """{site: its gate}."""
        return {name: gate for name, gate in self.gated.by_site().items() if isinstance(gate, Saliency)}

    def passed(self) -> dict[str, Tensor]:
        """The masks of the last pass, {site: [B, U]}, with slopes straight through."""
        return {name: gate.passed for name, gate in self.gates().items() if gate.passed is not None}

    def shares(self, masks: Masks | None = None) -> Tensor:
        """What each sample costs under its masks, [B], those of the last pass unless given; 1 is the whole network.

        The modules' own multiply-adds count.
        """
        modules = sum(gate.macs for gate in self.gates().values())
        return (self.cost(self.passed() if masks is None else masks) + modules) / float(self.cost({}))


def told(run: Run, priced: Priced, samples: int = 0) -> dict[str, float]:
    """What the decisions on the first test samples (0: all) cost, how they differ, and what they are worth."""
    test = run.task.data.test.take(slice(0, samples or len(run.task.data.test)))
    masks = decisions(run, priced, test)
    every = torch.cat([*masks.values()], 1)
    rates = torch.stack([mask.double().mean() for mask in masks.values()])
    shares = priced.shares(masks)
    frequent = most_frequent(masks)
    drawn = torch.randperm(len(every), generator=luck(run.seed, "masks of others")).to(every.device)
    others = torch.empty_like(drawn)
    others[drawn] = drawn.roll(1)  # one circle through all samples: none gets its own
    tried = {"own": masks, "swapped": {n: m[others] for n, m in masks.items()}, "frequent": frequent}
    found = {f"{name}_{run.task.goal.metric}": under(run, priced.gated, test, each) for name, each in tried.items()}
    found |= {"macs_mean": float(shares.mean()), "macs_least": float(shares.min()), "macs_most": float(shares.max())}
    found |= {"macs_frequent": float(priced.shares(frequent).mean()), "rates_spread": float(rates.std(correction=0))}
    found |= distances(every, test.targets if run.task.classes else None)
    return found | (harder(run, shares, test) if "like" in run.given and run.task.classes else {})


@torch.no_grad()
def decisions(run: Run, priced: Priced, samples: Batch) -> dict[str, Tensor]:
    """The masks that samples choose in evaluation, {site: bool [N, U]}."""
    seen: list[dict[str, Tensor]] = []
    with evaluating(priced.gated):
        for at in range(0, len(samples), run.task.at_once):
            run.task.forward(priced.gated, samples.take(slice(at, at + run.task.at_once)))
            seen.append({name: mask != 0 for name, mask in priced.passed().items()})
    return {name: torch.cat([each[name] for each in seen]) for name in seen[0]}


def most_frequent(masks: Masks) -> dict[str, Tensor]:
    """One mask for all samples, {site: bool [N, U]}: of each site as many units as are open on average."""
    often = {name: mask.double().mean(0) for name, mask in masks.items()}
    keep = select.by_count(often, {name: max(1, round(float(each.sum()))) for name, each in often.items()})
    return {name: kept.expand(len(masks[name]), -1) for name, kept in keep.items()}


def under(run: Run, gated: Gated, samples: Batch, masks: Masks) -> float:
    """The goal of the task on samples, each under its masks."""
    total, like = 0.0, next(gated.parameters())
    for at in range(0, len(samples), run.task.at_once):
        rows = slice(at, at + run.task.at_once)
        batch = samples.take(rows)
        with gated.forced({name: mask[rows].to(like) for name, mask in masks.items()}):
            total += measured(gated, run.task, batch)[run.task.goal.metric] * len(batch)
    return total / len(samples)


def distances(every: Tensor, classes: Tensor | None) -> dict[str, float]:
    """How masks, bool [N, U], differ from pair to pair, as shares of units; within and between classes [N] if given."""
    pairs, differ = _pairs(every)
    found = {"distance": differ / max(1, pairs)}
    if classes is None:
        return found
    parts = [_pairs(every[classes == each]) for each in torch.unique(classes)]
    inside, alike = (sum(part[number] for part in parts) for number in (0, 1))
    return found | {"distance_within": alike / max(1, inside),
                    "distance_between": (differ - alike) / max(1, pairs - inside)}  # fmt: skip


def _pairs(every: Tensor) -> tuple[float, float]:
    """How many pairs of rows there are, and the sum over them of the share of columns in which they differ."""
    count, ones = len(every), every.double().sum(0)
    return count * (count - 1) / 2, float((ones * (count - ones)).mean())


@torch.no_grad()
def harder(run: Run, shares: Tensor, samples: Batch) -> dict[str, float]:
    """Spearman's correlation of what samples cost with their losses under the network given as like, and its error."""
    other, task = run.given["like"].network().to(run.device), run.task
    with evaluating(other):
        parts = [samples.take(slice(at, at + task.at_once)) for at in range(0, len(samples), task.at_once)]
        losses = torch.cat([F.cross_entropy(task.forward(other, b), b.targets, reduction="none") for b in parts])
    pair = torch.stack([ranks(losses.double()), ranks(shares.double())])
    rho = float(torch.corrcoef(pair)[0, 1]) if len(torch.unique(pair[1])) > 1 else 0.0
    return {"loss_and_macs": rho, "loss_and_macs_error": (len(samples) - 1) ** -0.5}


def ranks(values: Tensor) -> Tensor:
    """The places of numbers [N] in their order, from 1; equals share the mean of theirs."""
    _, which, counts = torch.unique(values, return_inverse=True, return_counts=True)
    last: Tensor = counts.cumsum(0).double()
    places: Tensor = last - (counts.double() - 1) / 2
    return places[which]
