"""Adversarial training: an update on images and on attacked ones; what is cut; how what is left is judged.

x~ an image attacked in evaluation mode,  V the vulnerability of features (`attacks.latent`)
weights minimise  (CE(x) + 2 CE(x~)) / 3 + suppression V,   gates  CE(x~) + their penalty
without attacks   CE(x) + suppression V                            CE(x) + their penalty
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sapwood.attacks import Ball, features, fgsm, pgd, relative, signs_of_masking, vulnerability, withstands
from sapwood.attacks.sign import Attack
from sapwood.currency import Keep
from sapwood.errors import InputError
from sapwood.gates import Gated
from sapwood.measure.example import Example
from sapwood.measure.work import macs
from sapwood.methods.parts.equal_macs import narrower
from sapwood.methods.parts.ranking import unit_scores
from sapwood.methods.parts.widths import WHOLE, by_ratios
from sapwood.scoring.layers import every_layer
from sapwood.scoring.modes import evaluating
from sapwood.selection import select
from sapwood.shrinking.tracing.site import Site
from sapwood.training.draws import luck
from sapwood.training.loop import backward, descend
from sapwood.training.run import Run
from sapwood.training.task import Batch, Samples

AT_ONCE = 500  # samples that are judged in one pass
Penalty = Callable[[], Tensor]


@dataclass(frozen=True)
class Fight:
    """How a network is trained against attacks; an update for `train`.

    attacked: weights and gates see attacked images; else only V does, if it is suppressed at all. `penalty` is what
    gates minimise beside the loss, times `weight`; a network without gates is trained as if there were none.
    """

    ball: Ball
    steps: int
    step: float
    attacked: bool
    suppression: float
    penalty: Penalty | None = None
    weight: float = 0.0  # of the penalty

    def __post_init__(self) -> None:
        if self.steps < 1 or not self.step > 0 or not self.suppression >= 0:
            raise InputError(f"steps={self.steps}, step={self.step}, suppression={self.suppression}: give at least 1 "
                             "step, of a length above 0, and a weight of 0 or more")  # fmt: skip

    def __call__(self, run: Run, batch: Batch) -> tuple[Tensor, Tensor]:
        """Leave gradients of both objectives; the outputs for clean images and the weights' objective."""
        if not len(batch):
            return descend(run, batch)
        outputs, of_weights, of_gates = self._objectives(run, batch)
        if not isinstance(run.model, Gated):
            of_weights.mul(run.weight).backward()  # type: ignore[no-untyped-call]
            return outputs, of_weights
        penalty = self.penalty() * self.weight if self.penalty else 0.0
        backward(run, of_gates + penalty, run.model.gates.parameters())
        backward(run, of_weights, run.model.model.parameters())
        return outputs, of_weights

    def _objectives(self, run: Run, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """The outputs for clean images; what weights minimise; what gates minimise, without their penalty."""
        attacked = self._attack(run.model, batch) if self.attacked or self.suppression else None
        with run.model.drawn() if isinstance(run.model, Gated) else nullcontext(), features(run.model) as seen:
            outputs, lost = _passed(run, batch)
            if attacked is None:
                return outputs, lost, lost
            clean = dict(seen)
            seen.clear()
            _, hurt = _passed(run, attacked)
            moved = self.suppression * vulnerability(clean, seen) if self.suppression else 0.0
        return outputs, ((lost + 2 * hurt) / 3 if self.attacked else lost) + moved, hurt if self.attacked else lost

    def _attack(self, model: nn.Module, batch: Batch) -> Batch:
        attacked = pgd(model, batch.inputs, batch.targets, ball=self.ball, steps=self.steps, step=self.step)
        return Batch(attacked, batch.targets)


def _passed(run: Run, batch: Batch) -> tuple[Tensor, Tensor]:
    outputs = run.task.forward(run.forward, batch)
    return outputs, run.loss(run.model, batch, outputs)


def by_posterior(gated: Gated, pruned: float) -> Keep:
    """The units that the gates keep; if fewer than the share `pruned` of all go, that share, the least open first."""
    keep, ranks = gated.keep(), {name: values.detach() for name, values in gated.open().items()}
    wanted = int(pruned * sum(map(len, ranks.values())) + WHOLE)
    if sum(int((~kept).sum()) for kept in keep.values()) >= wanted:
        return keep
    return select.drop(ranks, min(wanted, sum(len(rank) - 1 for rank in ranks.values())), least=1)


def by_magnitude(run: Run, found: Sequence[Site], pruned: float) -> Keep:
    """The units of the largest L1 norms: as many of each site as the network given as like has, else 1 - `pruned`."""
    scores, like = unit_scores("l1", run.model, found, run.task), run.given.get("like")
    if like is None:
        return by_ratios(scores, dict.fromkeys(scores, pruned))
    counts = narrower(run, like.weights)
    return select.by_count(scores, {name: counts[name] for name in scores})


def without(run: Run, gated: Gated | None, found: Sequence[Site], pruned: float) -> None:
    """Go on with the network without the units that gates, or magnitudes where there are none, do not keep.

    The gates' values are multiplied into its weights.
    """
    if gated is None:
        run.shrink(lambda: by_magnitude(run, found, pruned), found)
        return
    keep = run.remember("kept by posterior", lambda: by_posterior(gated, pruned))
    gated.model.load_state_dict(gated.bake()[0].state_dict())
    run.become(gated.model)
    run.shrink(keep, found)


class Begun(NamedTuple):
    """What a network is compared with when it is judged: itself, before anything was removed."""

    units: int
    memory: int
    features: Mapping[str, int]  # of one sample, that each layer but the first reads


def begun(model: nn.Module, example: Tensor, found: Sequence[Site]) -> Begun:
    """The same, of a network, one sample and the sites of its units."""
    with evaluating(model), torch.no_grad(), features(model) as seen:
        model(example)
        counts = {name: z[0].numel() for name, z in seen.items()}
    return Begun(sum(site.units for site in found), memory(model, example), counts)


def note(run: Run, fight: Fight, began: Begun, *, samples: int, steps: int, restarts: int, signs: int = 0) -> None:
    """Note what the network withstands on the first test `samples`, and the shares that are left of what it was.

    signs: on how many of them signs of masked gradients are looked for, see `attacks.signs_of_masking`.
    """
    run.note(**run.remember("judged", lambda: judged(run, fight, began, samples, steps, restarts)))
    if signs:
        run.note(**run.remember("signs", lambda: odd(run, fight, signs, steps)))
    run.note(
        units_removed=sum(cut.units for cut in run.cuts) / began.units,
        memory_left=memory(run.model, run.task.example) / began.memory,
        macs_left=run.size().macs / run.reference.macs,
    )


def odd(run: Run, fight: Fight, samples: int, steps: int) -> dict[str, float]:
    """What a longer attack, and one without a limit, leave right; and how many signs speak for masked gradients."""
    inputs, targets = run.task.data.test.take(slice(0, samples))
    drawn = luck(run.seed, "signs of masked gradients")
    found = signs_of_masking(run.model, inputs, targets, ball=fight.ball, steps=steps, generator=drawn)
    return {
        "longer_accuracy": found.longer,
        "unlimited_accuracy": found.unlimited,
        "signs": float(len(found.warnings())),
    }


def judged(run: Run, fight: Fight, began: Begun, samples: int, steps: int, restarts: int) -> dict[str, float]:
    """Accuracies and vulnerabilities on the first test `samples`, under PGD of so many steps and restarts.

    Removed features count as not moved at all. Draws are the same for the same seed.
    """
    drawn = luck(run.seed, "attacks to judge by")
    once = partial(fgsm, ball=fight.ball)
    strong = partial(pgd, ball=fight.ball, steps=steps, restarts=restarts, generator=drawn)
    sums, batches = dict[str, float](), list(_first(run.task.data.test, samples))
    for batch in batches:
        for name, value in _seen(run.model, batch, once, strong, began.features).items():
            sums[name] = sums.get(name, 0.0) + value * len(batch)
    return {name: value / sum(map(len, batches)) for name, value in sums.items()}


def memory(model: nn.Module, example: Example) -> int:
    """How many numbers a pass over one sample holds: parameters, and what layers read, of convolutions unfolded.

    *Paper:* Madaan et al. 2020 count memory like this; in their code for VGG-16 the dense layers count once for each
    convolution, which is not done here.
    """
    layers = every_layer(model)
    read = sum(
        count // len(layers[name].weight) * getattr(layers[name], "groups", 1)
        for name, count in macs(model, example).items()
    )
    return sum(p.numel() for p in model.parameters()) + read


def _first(split: Samples, count: int) -> Iterator[Batch]:
    ends = [*range(0, min(count, len(split)), AT_ONCE), min(count, len(split))]
    return (split.take(slice(*pair)) for pair in pairwise(ends))


@torch.no_grad()
def _seen(model: nn.Module, batch: Batch, once: Attack, strong: Attack, whole: Mapping[str, int]) -> dict[str, float]:
    """Means over one batch."""
    inputs, targets = batch
    attacked = strong(model, inputs, targets)
    with evaluating(model), features(model) as seen:
        model(inputs)
        clean = dict(seen)
        model(attacked)
        moved = {"vulnerability": vulnerability(clean, seen, whole), "vulnerability_relative": relative(clean, seen)}
    right = {
        "clean": withstands(model, inputs, targets),
        "fgsm": withstands(model, inputs, targets, once),
        "pgd": withstands(model, inputs, targets, lambda *_: attacked),
    }
    found = {f"{name}_accuracy": float(each.double().mean()) for name, each in right.items()}
    return found | {name: float(value) for name, value in moved.items()}
