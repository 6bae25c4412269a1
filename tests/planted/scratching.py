"""Laws of gates that learn on frozen weights and are ranked under a budget, and bugs planted in them."""

from unittest.mock import patch

import torch
from planted.gating_units import in_place
from planted.mutant import bugs, instead

from sapwood.checks import tiny_task
from sapwood.checks.law import demand
from sapwood.gates import Clamp, Gated
from sapwood.methods import METHODS
from sapwood.methods.parts import opened
from sapwood.selection import select
from sapwood.shrinking.finding import sites
from sapwood.training.run import start

by_count, clamp_ = select.by_count, Clamp.clamp_


def laws():
    """Of the method, and of its parts."""
    return {
        "scratch: the network keeps its bits while gates learn": _frozen,
        "scratch: units at 0 go in the order of the gates without their clamp": _shadow,
        "scratch: a floor keeps the highest gates of each layer": _floor,
        "scratch: shuffled gates are the same values, at other units": _shuffled,
    }


def _frozen():
    run = start(tiny_task(), 0)
    network, before = run.model, {name: p.detach().clone() for name, p in run.model.named_parameters()}
    for now in METHODS["pruning_from_scratch"](run, gate_epochs=1, epochs=0, rate=0.3):
        moved = [name for name, p in network.named_parameters() if not torch.equal(p, before[name])]
        demand(not moved, f"{moved} had moved after step {now.step}")


def _shadow():
    gate, free = Clamp(6, shadow=True).double(), torch.ones(6, dtype=torch.float64)
    for step in torch.rand(5, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64):
        gate.value.data -= step
        free -= step
        gate.clamp_()
    demand(not bool(gate.keep().any()), "some gate is open")
    demand(torch.equal(gate.rank().argsort(), free.argsort()), f"ranks {gate.rank()} of {free}")


def _floor():
    run = start(tiny_task(), 0)
    found = sites(run.apart.several)
    ranks = {site.name: 100.0 * n + torch.arange(float(site.units)) for n, site in enumerate(found)}
    run.store("best gates").update(open=1.0, reached=0.0, ranks=ranks)
    first = next(iter(opened.chosen(run, run.apart.one, found, 0.4, "", 0.5).values()))
    demand(first.tolist() == [False] * 4 + [True] * 4, f"of gates in rising order stay {first}")


def _shuffled():
    ranks = {"a": torch.arange(8.0), "b": 100 + torch.arange(6.0)}
    whole = torch.cat([*ranks.values()])
    for how, mixed in (("within", False), ("across", True)):
        dealt = opened.shuffled(ranks, how, 0)
        values = torch.cat([dealt["a"], dealt["b"]])
        demand(torch.equal(values.sort().values, whole), f"{how}: {values} of {whole}")
        demand(not torch.equal(values, whole), f"{how}: every gate is where it was")
        demand(bool((dealt["a"] >= 100).any()) is mixed, f"{how}: the first layer has {dealt['a']}")


def of_the_lowest(scores, counts):
    return by_count({name: -s for name, s in scores.items()}, counts)


def without_the_past(self):
    if self.clipped is not None:
        self.clipped.zero_()
    clamp_(self)


def floored_by_the_lowest(ranks, floor, floored=opened.floored):
    with patch.object(select, "by_count", of_the_lowest):
        return floored(ranks, floor)


def drawn_anew(ranks, how, seed):
    return {name: rank[torch.randint(len(rank), rank.shape)] for name, rank in ranks.items()}


def always_within(ranks, how, seed, shuffled=opened.shuffled):
    return shuffled(ranks, how and "within", seed)


MUTANTS = bugs(
    "scratch",
    laws,
    {
        "the network keeps its bits while gates learn": {
            "gates that scale frozen weights for good": instead(Gated, "forward", in_place),
        },
        "units at 0 go in the order of the gates without their clamp": {
            "of what clamping takes off the last counts": instead(Clamp, "clamp_", without_the_past),
        },
        "a floor keeps the highest gates of each layer": {
            "a floor keeps the lowest": instead(opened, "floored", floored_by_the_lowest),
        },
        "shuffled gates are the same values, at other units": {
            "gates drawn with replacement for a shuffle": instead(opened, "shuffled", drawn_anew),
            "gates that never leave their layer": instead(opened, "shuffled", always_within),
        },
    },
)
