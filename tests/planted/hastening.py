"""Bugs planted in updates of lower precision and by compiled networks."""

from contextlib import nullcontext
from dataclasses import replace

import torch
from planted.mutant import bugs, instead

from sapwood import select
from sapwood.checks import Laws
from sapwood.checks.law import demand
from sapwood.checks.tiny import tiny_model, tiny_task
from sapwood.training import hastened
from sapwood.training.loop import descend, train
from sapwood.training.run import start

SHARE = 0.05  # by which gradients may differ in bfloat16, which has 8 bits
compile_ = torch.compile


def in_float32():
    """The tiny task without luck, in float32."""
    task = tiny_task()
    splits = (task.data.train, task.data.valid, task.data.test)
    data = type(task.data)(*(split._replace(inputs=split.inputs.float()) for split in splits))
    return replace(task, model=lambda: tiny_model().float(), data=data)


def gradients(update, seen=None):
    task = in_float32()
    run = start(task)
    if seen is not None:
        run.loss = lambda model, batch, outputs: seen.append(outputs.dtype) or task.loss(model, batch, outputs)
    next(train(run, steps=1, update=update))
    return {name: p.grad for name, p in run.model.named_parameters()}


def near_and_low() -> None:
    seen: list[torch.dtype] = []
    low, whole = gradients(hastened.casting(), seen), gradients(descend)
    demand(seen == [torch.bfloat16], f"outputs are {seen}")
    for name, slope in whole.items():
        off = float((low[name] - slope).norm() / slope.norm())
        demand(low[name].dtype is torch.float32 and off < SHARE, f"{name}: {low[name].dtype}, {off:.3f} off")


def lived(update):
    """Pruned in the midst, then another network; in float64 and without luck."""
    run = start(replace(tiny_task(), model=tiny_model))
    for now in train(run, steps=8, update=update):
        if now.step == 3:
            run.prune(
                select.everywhere({n: p.detach().abs() for n, p in run.model.named_parameters() if p.dim() > 1}, 0.5)
            )
        if now.step == 6:
            with torch.random.fork_rng():
                torch.manual_seed(1)
                run.become(tiny_model())
    return run


def as_descend() -> None:
    run, plain = lived(hastened.compiling(backend="eager")), lived(descend)
    for name, value in plain.model.state_dict().items():
        off = float((run.model.state_dict()[name] - value).abs().max())
        demand(off < 1e-12, f"{name} is {off} off")


def through_what_was_compiled() -> None:
    made = []

    def backend(graph, _):
        made.append(graph)
        return graph.forward

    run = start(replace(tiny_task(), model=tiny_model))
    for _ in train(run, steps=2, update=hastened.compiling(backend=backend)):
        pass
    demand(len(made) > 0, "nothing was compiled by the backend that was named")


def hasten_laws() -> Laws:
    return {
        "hastened: bfloat16 gives nearly the same gradients": near_and_low,
        "hastened: a compiled network trains as it does itself": as_descend,
        "hastened: options reach the compiler": through_what_was_compiled,
    }


class Same:
    """Only what was compiled first is ever run."""

    def __init__(self):
        self.first = None

    def __call__(self, network, **options):
        self.first = self.first or network
        return self.first


MUTANTS = bugs("hastened", hasten_laws, {
    "bfloat16 gives nearly the same gradients": {
        "precision is what it was": instead(torch, "autocast", lambda *_: nullcontext()),
    },
    "a compiled network trains as it does itself": {
        "the network that was compiled first goes on": instead(torch, "compile", Same()),
    },
    "options reach the compiler": {
        "options are left out": instead(torch, "compile", lambda network, **_: compile_(network, backend="eager")),
    },
})  # fmt: skip
