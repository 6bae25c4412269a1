"""Constrained: gates on components learn under a budget, beside the weights; then the network goes on without them."""

import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Adam

from sapwood.gates import Gated, HardConcrete
from sapwood.gates.lagrangian import Lagrangian
from sapwood.gates.point import scale_
from sapwood.methods.parts.components import Budget
from sapwood.shrinking.scaling import points
from sapwood.shrinking.tracing.site import Site
from sapwood.training.loop import Moment, train
from sapwood.training.run import Run
from sapwood.training.task import Batch
from sapwood.training.together import Together

LOWEST, HIGHEST = -7.0, 2.2  # of log α: P(open) between 0.01 and 0.99, so that no gate loses its gradient


def learned(
    run: Run, found: Sequence[Site], budget: Budget, *, sparsity: float, drop: float, rate: float, rise: float,
    epochs: int,
) -> Iterator[Moment]:  # fmt: skip
    """Trains weights, gates and multipliers together; the target is reached after the share `rise` of the epochs.

    Gates and multipliers learn at `rate` until then, later at rate / sqrt(time / rise), unless the task has a course.
    """
    like = next(run.model.parameters())
    gates = {site.name: HardConcrete(site.units, drop=drop).to(like) for site in found}
    places = points(run.apart.several, found)
    rising = int(rise * epochs * run.task.steps_per_epoch)
    held = Lagrangian(sparsity, warmup=rising).to(like)
    gated = Gated(run.model, gates, places, dict(held.named_parameters()))

    def loss(model: nn.Module, batch: Batch, outputs: Tensor) -> Tensor:
        missed: Tensor = held(budget.sparsity(gated.open()), run.step - run.begun)
        return run.task.loss(model, batch, outputs) + missed

    learning, climbing = Adam(gated.gates.parameters(), lr=rate), held.ascent(rate)
    run.become(gated, Together(run.task.optimizer(gated.model.parameters()), learning, climbing))
    run.loss = loss
    for now in train(run, epochs=epochs):
        _clamp(gates)
        for group in (*learning.param_groups, *climbing.param_groups):
            group["lr"] = rate / math.sqrt(max(1.0, (run.step - run.begun) / max(1, rising)))
        yield now
    run.loss = run.task.loss


def settled(run: Run, found: Sequence[Site], budget: Budget) -> dict[str, Tensor]:
    """log α of every gate, {site: [U]}; the network goes on without gates, their values multiplied into its weights.

    Noted: the expected sparsity, and the share of gates that are open, or shut, with a probability above 0.9.
    """
    gated = run.model
    assert isinstance(gated, Gated)
    log_alpha, soft = run.remember("gates", lambda: _read(run, gated, budget))
    scale_(dict(gated.model.named_parameters()), gated.points, soft)
    run.become(gated.model)
    return log_alpha


@torch.no_grad()
def _read(run: Run, gated: Gated, budget: Budget) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    gates = {name: gate for name, gate in gated.by_site().items() if isinstance(gate, HardConcrete)}
    each = torch.cat([gate.open() for gate in gates.values()])
    decided = float(((each < 0.1) | (each > 0.9)).double().mean())
    run.note(expected_sparsity=float(budget.sparsity(gated.open())), decided=decided)
    return ({name: gate.log_alpha.detach() for name, gate in gates.items()},
            {name: gate.soft() for name, gate in gates.items()})  # fmt: skip


@torch.no_grad()
def _clamp(gates: Mapping[str, HardConcrete]) -> None:
    for gate in gates.values():
        gate.log_alpha.clamp_(LOWEST, HIGHEST)
