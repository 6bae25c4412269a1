"""Pruning from scratch: gates are trained on random, frozen weights; the widths they find are trained from new ones.

    loss + weight * (mean λ - level)²,   λ in [0, 1] a gate for each unit, behind its norm; all other numbers stay

Paper: Wang, Zhang, Xie, Zhou, Su, Zhang, Hu, "Pruning from scratch", AAAI 2020, arXiv:1909.12579. Defaults: the
authors' code for CIFAR-10. From it too: λ is 1 at first, batch norms' statistics move, the best epoch's gates count of
those whose share of open units is `level` or less, else the last one's; all layers are ranked together.
Differs: a wider network to begin with, if any, is the task's, and `macs` is a share of its multiply-adds; exactly as
many units go as are needed, where the code halves an interval ten times; of equal λ those go first that have been less
open on average; units that several layers make stay; Adam follows the course. Weights: `controls.drawn_for_its_size`.
Not in the paper: `budget`, `floor`, `ties`, `pull="macs"`, and `shuffled`, a control. After a `start`, gates learn on
its weights.
"""

from collections.abc import Iterator

from torch.optim import Adam

from sapwood.errors import InputError, refuse_unless
from sapwood.export.run_budget import budget_of
from sapwood.gates import Clamp, Gated, Lagrangian
from sapwood.methods.parts.controls import drawn_for_its_size, made_anew
from sapwood.methods.parts.opened import PULLS, SHUFFLED, TIES, chosen, held_to, pulled_to, remember_best
from sapwood.shrinking.cost import macs_of
from sapwood.shrinking.finding import sites
from sapwood.shrinking.scaling import points
from sapwood.training.declared import declares
from sapwood.training.loop import Moment, train
from sapwood.training.run import Run
from sapwood.training.together import Together


@declares("rebuilds")
def pruning_from_scratch(
    run: Run, *, macs: float = 0.5, level: float = 0.2, weight: float = 0.5, rate: float = 0.01,
    gate_epochs: int = 10, epochs: int = 160, equal_cost: bool = False, budget: str = "", floor: float = 0.0,
    ties: str = "mean", shuffled: str = "", pull: str = "level", warmup: float = 0.5,
) -> Iterator[Moment]:  # fmt: skip
    """Trains gates, then a network of at most `macs` multiply-adds, with `equal_cost` for int(epochs / share left).

    `budget`, words as "parameters=0.5", asks for a share of something else; at least the share `floor` of each layer's
    units stays. `ties` orders units at 0, and those at 1: by the "mean" of their gates so far, or by the "shadow", the
    gate without its clamp. `shuffled` gates, "within" layers or "across" them, tell what the gates have found.
    `pull`: to the "level" on average; or, by two multipliers, to the share "macs" of the multiply-adds, to which the
    target falls for a share `warmup` of the gates' epochs, and the last epoch's gates count.
    """
    shares = 0 < macs <= 1 and 0 <= level <= 1 and 0 <= floor < 1 and 0 <= warmup <= 1
    if not shares or not weight >= 0 or not rate > 0 or gate_epochs < 1:
        raise InputError(f"{macs=}, {level=}, {floor=}, {warmup=}, {weight=}, {rate=}, {gate_epochs=}: need macs in "
                         "(0, 1], level and warmup in [0, 1], floor in [0, 1), weight from 0, rate above 0, at least 1 "
                         "epoch")  # fmt: skip
    for option, value, known in (("ties", ties, TIES), ("shuffled", shuffled, SHUFFLED), ("pull", pull, PULLS)):
        refuse_unless(option, value, known)
    budget_of(budget)
    whole, network, steps = run.apart, run.model, gate_epochs * run.task.steps_per_epoch
    found = tuple(site for site in sites(whole.several) if len(list(site.at("makes"))) == 1)
    gates = {site.name: Clamp(site.units, shadow=ties == "shadow") for site in found}
    held = Lagrangian(1 - macs, warmup=round(warmup * steps))
    extra = dict(held.named_parameters()) if pull == "macs" else {}
    gated = Gated(network.requires_grad_(False), gates, points(whole.several, found), extra)
    learning = Adam(gated.gates.parameters(), lr=rate)
    run.become(gated, Together(learning, held.ascent(rate)) if extra else learning)
    run.loss = held_to(run, gated, held, macs_of(whole.one, found)) if extra else pulled_to(run, gated, level, weight)
    for now in train(run, epochs=gate_epochs):
        for gate in gates.values():
            gate.clamp_()
        if now.ends_epoch:
            remember_best(run, gates, run.task.goal.of(now.metrics, "valid"), -1 if extra else level)
        yield now
    run.become(made_anew(run, "fresh weights"))
    run.loss = run.task.loss
    run.shrink(lambda: chosen(run, whole.one, found, macs, budget, floor, shuffled), found)
    drawn_for_its_size(run)
    yield from train(run, epochs=int(epochs / run.notes["macs_left"]) if equal_cost else epochs)
