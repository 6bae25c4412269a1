"""Pruning from scratch: gates are trained on random, frozen weights; the widths they find are trained from new ones.

    loss + weight * (mean λ - level)²,   λ in [0, 1] a gate for each unit, behind its norm; all other numbers stay

Paper: Wang, Zhang, Xie, Zhou, Su, Zhang, Hu, "Pruning from scratch", AAAI 2020, arXiv:1909.12579. Defaults: the
authors' code for CIFAR-10. From it too: λ is 1 at first, batch norms' statistics move, the best epoch's gates count of
those whose share of open units is `level` or less, else the last one's; all layers are ranked together.
Differs: a wider network to begin with, if any, is the task's, and `macs` is a share of its multiply-adds; exactly as
many units go as are needed, where the code halves an interval ten times; of equal λ those go first that have been less
open on average; units that several layers make stay; Adam follows the course. Weights: `controls.drawn_for_its_size`.
"""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Adam

from sapwood.errors import InputError
from sapwood.gates import Clamp, Gated
from sapwood.methods.parts.controls import drawn_for_its_size, made_anew
from sapwood.selection import select
from sapwood.shrinking.cost import fewest, macs_of
from sapwood.shrinking.finding import sites
from sapwood.shrinking.scaling import points
from sapwood.shrinking.tracing.anatomy import Anatomy
from sapwood.shrinking.tracing.site import Site
from sapwood.training.declared import declares
from sapwood.training.loop import Moment, train
from sapwood.training.run import Run
from sapwood.training.task import Batch


@declares("rebuilds")
def pruning_from_scratch(
    run: Run, *, macs: float = 0.5, level: float = 0.2, weight: float = 0.5, rate: float = 0.01,
    gate_epochs: int = 10, epochs: int = 160, equal_cost: bool = False,
) -> Iterator[Moment]:  # fmt: skip
    """Trains gates, then a network of at most `macs` multiply-adds, with `equal_cost` for int(epochs / share left)."""
    if not 0 < macs <= 1 or not 0 <= level <= 1 or not weight >= 0 or not rate > 0 or gate_epochs < 1:
        raise InputError(f"{macs=}, {level=}, {weight=}, {rate=}, {gate_epochs=}: need macs in (0, 1], level in [0, 1],"
                         " a weight of 0 or more, a rate above 0, at least 1 epoch")  # fmt: skip
    whole, network = run.apart, run.model
    found = tuple(site for site in sites(whole.several) if len(list(site.at("makes"))) == 1)
    gates = {site.name: Clamp(site.units) for site in found}
    gated = Gated(network.requires_grad_(False), gates, points(whole.several, found))

    def loss(model: nn.Module, batch: Batch, outputs: Tensor) -> Tensor:
        return run.task.loss(model, batch, outputs) + weight * (torch.cat([*gated.open().values()]).mean() - level) ** 2

    run.become(gated, Adam(gated.gates.parameters(), lr=rate))
    run.loss = loss
    for now in train(run, epochs=gate_epochs):
        for gate in gates.values():
            gate.clamp_()
        if now.ends_epoch:
            remember_best(run, gates, run.task.goal.of(now.metrics, "valid"), level)
        yield now
    run.become(made_anew(run, "fresh weights"))
    run.loss = run.task.loss
    run.shrink(lambda: chosen(run, whole.one, found, macs), found)
    drawn_for_its_size(run)
    yield from train(run, epochs=int(epochs / run.notes["macs_left"]) if equal_cost else epochs)


def remember_best(run: Run, gates: Mapping[str, Clamp], reached: float, level: float) -> None:
    """Keep this epoch's gates unless better ones are kept: of those open at most to `level` the best by the goal."""
    share, best = float(torch.cat([gate.keep() for gate in gates.values()]).double().mean()), run.store("best gates")
    if not best or best["open"] > level or (share <= level and run.task.goal.better(reached, best["reached"])):
        best.update(open=share, reached=reached, ranks={name: gate.rank() for name, gate in gates.items()})


def chosen(run: Run, network: Anatomy, found: Sequence[Site], macs: float) -> select.Keep:
    """The units that stay. Noted: the share of multiply-adds left, of gates open, and equals at the cut that went."""
    best, cost = run.store("best gates"), macs_of(network, found)
    keep = fewest(best["ranks"], cost, macs * float(cost({})))
    cut = min(float(rank[keep[name]].min()) for name, rank in best["ranks"].items())
    ties = sum(int((rank[~keep[name]] == cut).sum()) for name, rank in best["ranks"].items())
    run.note(macs_left=float(cost(keep) / cost({})), open=best["open"], ties=ties)
    return keep
