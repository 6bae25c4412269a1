"""A plain loop that drives a pruner as trainers do, with pauses, and laws of what it leaves behind."""

from copy import deepcopy
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import nn

from sapwood import masks
from sapwood.adapters import life
from sapwood.adapters.pruner import Pruner
from sapwood.checks.law import Laws, demand
from sapwood.currency import Masks
from sapwood.scoring.criterion import Criterion

EPOCHS, STEPS = 4, 2
X = torch.randn(STEPS, 16, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
Y = torch.arange(16) % 3
LARGEST_FIRST = Criterion(lambda w_OI, seen: -w_OI.abs())  # what is 0 would come back


class Stage(NamedTuple):
    """A model, its optimiser, and what a checkpoint holds of the pruning."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    noted: str | None = None
    at: tuple[int, int] = (0, 0)  # epoch, step


def dense(**options: Any) -> Stage:
    """Before training."""
    torch.manual_seed(0)
    layers = (nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))
    model = nn.Sequential(*layers).double()
    return Stage(model, torch.optim.AdamW(model.parameters(), lr=0.01))


def train(pruner: Pruner, stage: Stage, stop: tuple[int, int] | None = None, every_step: Any = None) -> Stage:
    """Train to the end, or to a stop: then a stage to go on from comes back, and the pruner is left as it is."""
    model, optimizer, noted, (first, step) = stage
    model.train()
    pruner.begin(model, [optimizer], stage, first, EPOCHS, noted)
    for epoch in range(first, EPOCHS):
        if step == 0:
            pruner.prune(epoch)
        pruner.watch(epoch)
        for at in range(step, STEPS):
            if (epoch, at) == stop:
                return Stage(*deepcopy((model, optimizer.state_dict())), pruner.notes(everybody=False), stop)
            torch.manual_seed(STEPS * epoch + at)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(X[at]), Y).backward()
            optimizer.step()
            if every_step is not None:
                every_step(epoch, at)
        pruner.look_away()
        step = 0
    pruner.prune(EPOCHS)
    pruner.finish(EPOCHS)
    return stage


def resumed(stage: Stage) -> Stage:
    """In another process: a fresh model and a fresh optimiser, with what the checkpoint holds."""
    fresh = dense()
    fresh.model.load_state_dict({name: value.clone() for name, value in stage.model.state_dict().items()})
    fresh.optimizer.load_state_dict(stage.optimizer)
    return Stage(fresh.model, fresh.optimizer, stage.noted, stage.at)


def adapter_laws() -> Laws:
    """Without any trainer."""
    return {
        "adapters: going on from any step gives the same masks and the same bits": _same_bits,
        "adapters: removed weights are 0 in every forward pass": _zero,
        "adapters: what was removed stays removed": _nested,
        "adapters: a training that broke off leaves no hook and no mask behind": _left,
        "adapters: the smaller model stands where the model stood, and its optimiser trains it": _in_place,
    }


def _same_bits() -> None:
    def pruner() -> Pruner:
        return Pruner(0.6, at=[1, 3], by="activity", only=["0", "2"])

    whole = pruner()
    end = train(whole, dense())
    for stop in [(epoch, step) for epoch in range(EPOCHS) for step in range(STEPS)]:
        broken, again = pruner(), pruner()
        there = train(again, resumed(train(broken, dense(), stop)))
        broken.release()
        demand(_equal(whole.masks, again.masks), f"other masks after a stop at {stop}")
        demand(_equal(end.model.state_dict(), there.model.state_dict()), f"other weights after a stop at {stop}")


def _zero() -> None:
    pruner, stage = Pruner(0.6, at=[1, 2]), dense()
    before = {name: value + 1 for name, value in stage.model.state_dict().items()}
    alive = []

    def look(model: nn.Module, *_: Any) -> None:
        parameters = dict(model.named_parameters())
        alive.extend(name for name, keep in pruner.masks.items() if parameters[name][~keep].any())

    stage.model[1].register_forward_hook(lambda *_: look(stage.model))
    train(pruner, stage, every_step=lambda epoch, at: stage.model.load_state_dict(before) and None)
    demand(not alive and len(pruner.masks) == 2, f"removed weights of {set(alive)} came back, of {list(pruner.masks)}")


def _nested() -> None:
    for options in ({"sparsity": 0.6}, {"macs": 0.4, "multiple": 1, "example": X[0]}):
        pruner, known = Pruner(at=[1, 2, 3], by=LARGEST_FIRST, **options), list[Masks]()
        train(pruner, dense(), every_step=lambda *_, known=known, pruner=pruner: known.append(pruner.masks))
        demand(all(masks.nested(a, b) for a, b in pairwise(known)), f"weights came back: {options}")


def _left() -> None:
    pruner, stage = Pruner(0.5, at=[1, 2], by="activity"), dense()
    train(pruner, stage, stop=(1, 1))
    pruner.release()
    hooks = [name for name, m in stage.model.named_modules() if m._forward_hooks or m._forward_pre_hooks]
    demand(not hooks, f"hooks are left on {hooks}")
    demand(stage.model not in life._busy, "the model still counts as being pruned")
    stage.model[0].weight.data.fill_(1)
    stage.model(X[0])
    demand(bool((stage.model[0].weight == 1).all()), "weights are still held at 0")


def _in_place() -> None:
    pruner, stage = Pruner(macs=0.5, multiple=1, example=X[0], shrink=True), dense()
    outer, inner = stage.model, stage.model[0]
    kept: dict[str, Any] = {}

    def note(*_: Any) -> None:
        outer.eval()
        kept["y"], kept["weights"] = outer(X[0]).detach(), sum(p.numel() for p in outer.parameters())
        outer.train()

    train(pruner, stage, every_step=note)
    demand(sum(p.numel() for p in outer.parameters()) < kept["weights"] and inner is not outer[0], "it is no smaller")
    demand(outer.training, "it is not in the mode that it was in")
    demand(bool(torch.allclose(outer.eval()(X[0]), kept["y"], rtol=1e-12)), "it computes something else")
    trained = [id(p) for group in stage.optimizer.param_groups for p in group["params"]]
    demand(trained == [id(p) for p in outer.parameters()], "the optimiser trains what is not there any more")
    shapes = [stage.optimizer.state[p]["exp_avg"].shape for p in outer.parameters()]
    demand(shapes == [p.shape for p in outer.parameters()], f"the optimiser remembers {shapes}")


def _equal(first: Any, second: Any) -> bool:
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())
