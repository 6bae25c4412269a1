"""Singular: products as U diag(|s|) Vᵀ while they train, and the terms that keep U and V orthonormal and s sparse."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD

from sapwood.currency import Scores
from sapwood.gates import Gated
from sapwood.gates.unit_gate import UnitGate
from sapwood.methods.parts.components import ordered_, pair
from sapwood.shrinking.scaling import points
from sapwood.shrinking.tracing.site import Site
from sapwood.training.run import Run
from sapwood.training.task import Batch

MEASURES: dict[str, Callable[[Tensor], Tensor]] = {  # of how far singular values [K] are from being sparse
    "hoyer": lambda s: s.sum() / _least(s.norm()),
    "hoyer_square": lambda s: (s.sum() / _least(s.norm())).square(),
    "l1": lambda s: s.sum(),
}


class Singular(UnitGate):
    """|s|, a singular value for each component. None is closed; which are dropped is asked of `energies`."""

    most = math.inf

    def __init__(self, first: Tensor) -> None:
        super().__init__(len(first))
        self.value = nn.Parameter(first.clone())

    def draw(self, x: Tensor | None) -> Tensor:
        """|s|, [U]."""
        return self.value.abs()

    def open(self) -> Tensor:
        """|s| up to 1, [U]."""
        return self.value.abs().clamp(max=1)

    def keep(self) -> Tensor:
        """s is not 0, bool [U]."""
        return self.value.detach() != 0


def orthogonality(w: Tensor) -> Tensor:
    """‖wᵀw - I‖_F² / r², or that of w wᵀ where it is smaller, r² its entries; 0 where its vectors are orthonormal.

    *Paper:* Yang et al. 2020, arXiv:2004.09031, the smaller side as in the authors' code.
    """
    gram = w.T @ w if w.shape[0] >= w.shape[1] else w @ w.T
    return (gram - torch.eye(len(gram)).to(gram)).square().mean()


def decomposed(run: Run, found: Sequence[Site]) -> Gated:
    """The run's network with each product in singular form, |s| as gates; it answers as it did.

    The run goes on with it, under a new optimiser. No weight of a product decays. Under SGD, a step of gradient g moves
    a product by up to 1 + 2 σ_1² times what an undivided weight would be moved by, and rates are divided by that.
    """
    places = points(run.apart.several, found)
    gates = {name: Singular(sigma) for name, sigma in ordered_(run.model, found, apart=True).items()}
    gated = Gated(run.model, gates, places)
    usual, rest, groups = run.task.optimizer(gated.parameters()), dict(gated.model.named_parameters()), list[Any]()
    for site in found:
        inside = [rest.pop(slot.tensor) for slot in site.slots if slot.tensor in rest]
        groups.append({"params": [gates[site.name].value, *inside], "weight_decay": 0.0})
        if isinstance(usual, SGD):
            top = float(gates[site.name].value.detach().max())
            groups[-1]["lr"] = usual.param_groups[0]["lr"] / (1 + 2 * top**2)
    groups.append({"params": list(rest.values())})
    run.become(gated, run.task.optimizer(groups))
    return gated


def penalise(run: Run, found: Sequence[Site], *, orthogonal: float, strength: float, measure: str) -> None:
    """From now on the run's loss is the task's, and `orthogonal` and `strength` times the sums of both terms.

    `measure` is one of MEASURES.
    """
    gated = run.model
    assert isinstance(gated, Gated)

    def loss(model: nn.Module, batch: Batch, outputs: Tensor) -> Tensor:
        tensors, added = dict(gated.model.named_parameters()), run.task.loss(model, batch, outputs)
        for site in found:
            added = added + orthogonal * sum(map(orthogonality, pair(tensors, site)))
            if strength:
                added = added + strength * MEASURES[measure](gated.by_site()[site.name].draw(None))
        return added

    run.loss = loss


def energies(values: Mapping[str, Tensor]) -> Scores:
    """{site: [K]}: the share of its layer's energy Σ s² that goes if a singular value and all smaller ones go."""
    scores = dict[str, Tensor]()
    for name, s in values.items():
        order = s.double().argsort(stable=True)  # the smallest first
        shares = s.double()[order].square().cumsum(0)
        scores[name] = torch.empty_like(shares).scatter(0, order, shares / _least(shares[-1]))
    return scores


@torch.no_grad()
def joined(run: Run, found: Sequence[Site]) -> Scores:
    """The singular values, {site: [K]}; the run goes on without gates, √|s| multiplied into both factors."""
    gated = run.model
    assert isinstance(gated, Gated)
    values = run.remember("singular values", lambda: {name: gate.draw(None) for name, gate in gated.by_site().items()})
    for site in found:
        left_OK, right_KI = pair(gated.model, site)
        left_OK.mul_(values[site.name].sqrt())
        right_KI.mul_(values[site.name].sqrt()[:, None])
    run.loss = run.task.loss
    run.become(gated.model)
    return values


def _least(size: Tensor) -> Tensor:
    """What can be divided by; of a layer that is all 0, too."""
    return size.clamp(min=torch.finfo(size.dtype).tiny)
