"""Bugs planted in steps that runs make together, and the laws that must catch them: each run is as it is alone."""

from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import Any

import torch
from planted.mutant import bugs, instead
from torch import nn
from torch.optim import SGD, Adam, AdamW

from sapwood import Data, Task, start
from sapwood.checks.law import demand
from sapwood.checks.tiny import tiny_model, tiny_samples
from sapwood.methods import METHODS
from sapwood.trials.lockstep import NOBODY, Lane, Lockstep, together

stack = import_module("sapwood.trials.stack")

RULES = {
    "sgd": partial(SGD, lr=0.1),
    "decay": partial(SGD, lr=0.1, momentum=0.9, weight_decay=1e-2),
    "nesterov": partial(SGD, lr=0.05, momentum=0.9, nesterov=True),
    "adam": partial(Adam, lr=0.01, weight_decay=1e-2),
    "adamw": partial(AdamW, lr=0.01, weight_decay=0.1),
}
EASY = {"first": 0.01, "target": 0.02, "stop": "epochs"}
LIVES = {  # of different lengths, so that who is left goes on with fewer
    "dense": {"epochs": 2, "stop": "epochs"},
    "gradual_magnitude": {"epochs": 3, "begin": 0.5, "end": 2, "every": 3, "sparsity": 0.7},
    "global_activation": EASY | {"epochs": 4, "cycles": 2, "sparsity": 0.5},
    "sparse_training": {"sparsity": 0.6, "every": 2, "epochs": 3},
    "iterative_magnitude": {"sparsity": 0.8, "rounds": 2, "first_epochs": 1, "round_epochs": 1},
}
STEP = 1e-12  # by which a step may differ


@dataclass
class Item:
    """A run to be made, and what came of it."""

    method: str
    options: dict[str, Any]
    task: Task
    seed: int
    run: Any = None
    losses: list[float] = field(default_factory=list)
    said: set[str] = field(default_factory=set)
    end: dict[str, torch.Tensor] = field(default_factory=dict)


def task(rule, dropout: float = 0.0, batch_size: int = 9) -> Task:
    """The tiny one, whose last batch of an epoch is small; by default nothing is random in a pass."""
    data = Data(tiny_samples(), tiny_samples(16, seed=1), tiny_samples(16, seed=2))
    return Task("tiny", partial(tiny_model, dropout), data, rule, batch_size=batch_size, classes=3)


def undropped(model: nn.Module) -> nn.Module:
    """The model, whose dropout drops nothing any more: its luck is not the same together and alone."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


def items(rule, **more: Any) -> list[Item]:
    """A run of each method, each at a learning rate of its own."""

    def slower(by: int, parameters: Any) -> Any:
        optimizer = rule(parameters)
        for group in optimizer.param_groups:
            group["lr"] /= by
        return optimizer

    named = enumerate(LIVES.items(), start=1)
    return [Item(name, options, task(partial(slower, n), **more), n) for n, (name, options) in named]


def live(step, item: Item, tell) -> None:
    """A job: the run's whole life."""
    item.run = start(item.task, item.seed)
    item.run.stepping = step
    for now in METHODS[item.method](item.run, **item.options):
        item.losses.append(now.loss)
        item.said.add(item.run.alone)
    item.end = {name: value.detach().clone() for name, value in item.run.model.state_dict().items()}


def lived(given: list[Item], at_once: int = 8) -> list[Item]:
    """The runs made together, then looked at when all are over."""
    shared = Lockstep()
    for item, error in together(shared, at_once)(partial(live, shared.step), given, print):
        demand(error is None, f"{item.method} failed: {error}")
    return given


def alone(given: list[Item]) -> list[Item]:
    """The same, one after another."""
    for item in given:
        live(None, item, print)
    return given


def differences(one: Item, other: Item) -> str:
    """Where two runs went apart; "" if nowhere."""
    if len(one.losses) != len(other.losses):
        return f"{one.method} made {len(one.losses)} steps, alone {len(other.losses)}"
    for step, (mine, wanted) in enumerate(zip(one.losses, other.losses, strict=True), start=1):
        if abs(mine - wanted) > STEP * step:
            return f"{one.method}: at step {step} the loss is {mine}, alone {wanted}"
    masks = [name for name, keep in other.run.masks.items() if not torch.equal(keep, one.run.masks[name])]
    far = [n for n, value in other.end.items() if not torch.allclose(one.end[n], value, rtol=0, atol=STEP * 99)]
    return f"{one.method}: masks {masks}, weights {far}" if masks or far else ""


def laws():
    """Of steps made together."""
    return {
        "together: each run is as it is alone, by every rule": _as_alone,
        "together: what masks removed is 0 in weights and in what the optimiser remembers": _zero,
        "together: a run that is over is not moved any more": _over,
        "together: who cannot step with others says why and has the same bits": _by_itself,
    }


def _as_alone() -> None:
    for name, rule in RULES.items():
        for mine, wanted in zip(lived(items(rule)), alone(items(rule)), strict=True):
            said = differences(mine, wanted)
            demand(not said, f"{name}: {said}")
            demand("" in mine.said and mine.said <= {"", NOBODY}, f"{mine.method} stepped by itself: {mine.said}")


def _zero() -> None:
    for item in lived(items(RULES["decay"])):
        state, named = item.run.optimizer.state, dict(item.run.model.named_parameters())
        for name, keep in item.run.masks.items():
            for what in (named[name], *state[named[name]].values()):
                demand(not bool(what[~keep].any()), f"{item.method}: {name} is not 0 where it was removed")


def _over() -> None:
    for item in lived(items(RULES["adam"]), at_once=3):
        now = item.run.model.state_dict()
        moved = [name for name, value in item.end.items() if not torch.equal(now[name], value)]
        demand(not moved, f"{item.method} was over, and {moved} moved")


def _by_itself() -> None:
    given = lambda: items(RULES["decay"], dropout=0.2)[:3]  # noqa: E731
    for mine, wanted in zip(lived(given()), alone(given()), strict=True):
        demand(mine.said == {"layer '4' drops numbers at random"}, f"it says {mine.said}")
        demand(mine.losses == wanted.losses, f"{mine.method} has other losses than alone")


def _others_masks(self, member) -> None:
    """Into the row before its own."""
    row, member.row = member.row, max(0, member.row - 1)
    mask(self, member)
    member.row = row


def _dead_go_on(member) -> None:
    """Its tensors stay views of a row that another one gets."""


def _all_of_first(members, seen) -> None:
    first = {name: [(x[:1].expand_as(x), y[:1].expand_as(y)) for x, y in calls] for name, calls in seen.items()}
    show(members, first)


def _same_luck(self, run) -> None:
    self.then.release()
    self.turn.acquire()


mask, clear, show = stack.Stack._mask, stack.Stack.clear, stack._show
CLAIMS = {
    "each run is as it is alone, by every rule": {
        "the learning rate of the first is used for all": instead(stack, "numbers", lambda values, like: values[0]),
        "all count what the first one's neurons do": instead(stack, "_show", _all_of_first),
        "new masks are not heard of": instead(stack.Stack, "_mask", lambda self, member: None),
    },
    "what masks removed is 0 in weights and in what the optimiser remembers": {
        "masks are put on another member": instead(stack.Stack, "_mask", _others_masks),
        "momentum goes on behind masks": instead(
            stack.Stack, "clear", lambda self, name, rows, tensors: clear(self, name, rows, tensors[:1])
        ),
    },
    "a run that is over is not moved any more": {
        "its weights stay in a row that another gets": instead(stack, "released", _dead_go_on),
    },
    "who cannot step with others says why and has the same bits": {
        "all draw from one stream of random numbers": instead(Lane, "wait", _same_luck),
    },
}
MUTANTS = bugs("together", laws, CLAIMS)
