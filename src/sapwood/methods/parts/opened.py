"""Opened: what clamped gates learn by, what they have learned, who stays by them, and the same gates shuffled."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from sapwood.currency import Keep, Scores
from sapwood.errors import InputError, refuse_unless
from sapwood.export.run_budget import budget_of, within
from sapwood.gates import Clamp, Gated, Lagrangian
from sapwood.selection import select
from sapwood.shrinking.cost import Cost, fewest, macs_of
from sapwood.shrinking.tracing.anatomy import Anatomy
from sapwood.shrinking.tracing.site import Site
from sapwood.training.draws import luck
from sapwood.training.run import Run
from sapwood.training.task import Batch, Loss

SHUFFLED, TIES, PULLS = ("", "within", "across"), ("mean", "shadow"), ("level", "macs")


def pulled_to(run: Run, gated: Gated, level: float, weight: float) -> Loss:
    """The task's loss, and weight * (mean of all gates - level)²."""

    def loss(model: nn.Module, batch: Batch, outputs: Tensor) -> Tensor:
        return run.task.loss(model, batch, outputs) + weight * (torch.cat([*gated.open().values()]).mean() - level) ** 2

    return loss


def held_to(run: Run, gated: Gated, held: Lagrangian, cost: Cost) -> Loss:
    """The task's loss, and what holds the share of the cost that gates remove to its target."""
    whole = float(cost({}))

    def loss(model: nn.Module, batch: Batch, outputs: Tensor) -> Tensor:
        removed = 1 - cost(gated.open()) / whole
        missed: Tensor = held(removed, run.step - run.begun)
        return run.task.loss(model, batch, outputs) + missed

    return loss


def remember_best(run: Run, gates: Mapping[str, Clamp], reached: float, level: float) -> None:
    """Keep this epoch's gates unless better ones are kept: of those open at most to `level` the best by the goal.

    A level below 0: the last.
    Noted of the last epoch: the mean of all gates, and the standard deviation of the layers' means.
    """
    share, best = float(torch.cat([gate.keep() for gate in gates.values()]).double().mean()), run.store("best gates")
    if not best or best["open"] > level or (share <= level and run.task.goal.better(reached, best["reached"])):
        best.update(open=share, reached=reached, ranks={name: gate.rank() for name, gate in gates.items()})
    values = [gate.open().detach().double() for gate in gates.values()]
    means = torch.stack([value.mean() for value in values])
    run.note(gates_mean=float(torch.cat(values).mean()), gates_spread=float(means.std(correction=0)))


def chosen(
    run: Run, network: Anatomy, found: Sequence[Site], macs: float, budget: str = "", floor: float = 0.0, how: str = ""
) -> Keep:
    """The units that stay. Noted: the share of multiply-adds left, of gates open, and equals at the cut that went.

    And of the units that stay those that are `closed`, their gate being 0: what orders these has decided.
    `budget`, words for `budget_of`, counts in place of `macs`. At least the share `floor` of each layer stays, with an
    InputError if that is too much. `how` shuffles the gates first.
    """
    best, cost, asked = run.store("best gates"), macs_of(network, found), budget_of(budget)
    values = shuffled(best["ranks"], how, run.seed)
    ranks = floored(values, floor)
    keep = within(run, ranks, found, asked) if asked else fewest(ranks, cost, macs * float(cost({})))
    cut = min(float(rank[keep[name]].min()) for name, rank in ranks.items())
    if any(int(kept.sum()) < math.ceil(floor * len(kept)) for kept in keep.values()):
        raise InputError(f"{floor=}: with so many units of each layer the network costs more than {budget or macs}; "
                         "lower the floor or raise the budget")  # fmt: skip
    ties = sum(int((rank[~keep[name]] == cut).sum()) for name, rank in ranks.items())
    closed = sum(int((rank[keep[name]] < 0).sum()) for name, rank in values.items())
    run.note(macs_left=float(cost(keep) / cost({})), open=best["open"], ties=ties, closed=closed)
    return keep


def floored(ranks: Scores, floor: float) -> Scores:
    """The ranks, with the highest ceil(floor * units) of each layer above all others."""
    if not floor:
        return ranks
    every = torch.cat([*ranks.values()])
    above = 1 + float(every.max() - every.min())
    last = select.by_count(ranks, {name: math.ceil(floor * len(rank)) for name, rank in ranks.items()})
    return {name: rank.double() + above * last[name] for name, rank in ranks.items()}


def shuffled(ranks: Scores, how: str, seed: int) -> Scores:
    """A control: the same values, by luck at other units of their own layer ("within") or of any layer ("across")."""
    refuse_unless("shuffled", how, SHUFFLED)
    drawn = luck(seed, f"gates shuffled {how}")

    def dealt(values: Tensor) -> Tensor:
        return values[torch.randperm(len(values), generator=drawn).to(values.device)]

    if how == "across":
        every = dealt(torch.cat([*ranks.values()]))
        return dict(zip(ranks, torch.split(every, [len(rank) for rank in ranks.values()]), strict=True))
    return {name: dealt(rank) for name, rank in ranks.items()} if how else ranks
