"""State: what a run's checkpoint must say, asked before any of it is loaded."""

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sapwood import processes, schema
from sapwood.errors import InputError

Make = Callable[[Iterator[nn.Parameter]], Optimizer]


def _tensor(value: Any, where: str) -> None:
    schema.demand(isinstance(value, Tensor), where, value, "a tensor")


def _mask(value: Any, where: str) -> None:
    schema.demand(isinstance(value, Tensor) and value.dtype is torch.bool, where, value, "a tensor of bools")


def key_of(value: Any, where: str) -> None:
    """A key of a dict in a checkpoint."""
    schema.demand(isinstance(value, (str, int)) and not isinstance(value, bool), where, value, "a word or whole number")


def _any(value: Any, where: str) -> None:
    """What a method or an optimiser keeps is its own business."""


STATE = schema.record({
    "task": schema.text, "seed": schema.whole(), "step": schema.whole(), "round": schema.whole(),
    "phase": schema.whole(), "begun": schema.whole(), "dense": schema.flag,
    "masks": schema.mapping(_mask), "model": schema.mapping(_tensor),
    "optimizer": schema.record({
        "state": schema.mapping(schema.mapping(_any), schema.whole()),
        "param_groups": schema.items(schema.record({"params": schema.items(schema.whole())}, rest=_any)),
    }),
    "memory": schema.mapping(_any, key_of), "sums": schema.mapping(schema.number),
    "random": schema.record({"cpu": _tensor}, {"cuda": _tensor}),
}, {
    "summed": schema.items(schema.items(key_of)),  # what several processes had each its own of; see `parts`
    "share": schema.items(schema.whole(), least=2),  # which process, of how many, has counted its samples alone
    "seconds": schema.number,  # what a trial adds
    "best": schema.record({}, {"valid": schema.number, "epoch": schema.whole(), "stage": schema.text,
                               "weights": schema.mapping(_tensor)}),
})  # fmt: skip


def saved_between(state: Mapping[str, Any] | None) -> bool:
    """Whether there is a state and it was saved between two calls of train: no step had been made since the last."""
    return state is not None and bool(state["step"] == state["begun"])


def refuse_other_words(state: Any, origin: str) -> None:
    """InputError unless the state is that of a run; `origin` is what it calls the checkpoint."""
    try:
        STATE(state, "it")
        schema.demand(state["begun"] <= state["step"], "begun", state["begun"], f"at most step, {state['step']}")
        best = state.get("best") or dict.fromkeys(("valid", "epoch", "stage", "weights"))
        schema.demand(len(best) == 4, "best", sorted(best), "valid, epoch, stage and weights")
    except schema.Unexpected as error:
        raise InputError(f"{origin} holds no run's state ({error}); delete it to start afresh") from error


def refuse_other_run(state: Mapping[str, Any], task: str, seed: int, origin: str) -> None:
    """InputError unless it is a run's state, of this task, by its fingerprint, of this seed, of one step everywhere."""
    refuse_other_words(state, origin)
    processes.alike(step=state["step"])
    if state.get("task") != task or state.get("seed") != seed:
        raise InputError(
            f"{origin} is of task {state.get('task')!r}, seed {state.get('seed')!r}; this run is {task!r}, "
            f"seed {seed}; "
            "has the data or the task changed? Start in another folder, or delete the checkpoint"
        )


def refuse_other_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Asked before anything is loaded: torch copies what fits before it complains of what does not."""
    mine, theirs = (
        {name: (tuple(value.shape), value.dtype) for name, value in each.items()}
        for each in (model.state_dict(), weights)
    )
    for name in sorted(mine.keys() | theirs.keys()):
        if mine.get(name) != theirs.get(name):
            one, other = (each.get(name, (None, None)) for each in (theirs, mine))
            what, at = ("shape", 0) if one[0] != other[0] else ("type", 1)
            raise InputError(
                f"the weights are of another network: {name!r} has {what} {one[at]}, this network's has {other[at]}; "
                "give the network they were saved from"
            )


def refuse_other_optimizer(optimizer: Optimizer, saved: Mapping[str, Any]) -> None:
    """InputError for another kind of optimiser, which both lacks and adds options; another torch version only adds."""
    mine, theirs = optimizer.state_dict()["param_groups"], saved["param_groups"]
    same = [len(group["params"]) for group in mine] == [len(group["params"]) for group in theirs]
    if not same or any(set(a) - set(b) and set(b) - set(a) for a, b in zip(mine, theirs, strict=True)):
        raise InputError(
            f"the checkpoint is not of this optimiser, {type(optimizer).__name__} with {len(mine)} parameter groups; "
            "give the task the optimiser it was saved with, or delete the checkpoint"
        )
    wrong = [*_other_options(mine, theirs), *_other_shapes(optimizer, saved)]
    if wrong:
        raise InputError(f"the checkpoint's optimiser has {wrong[0]}; delete the checkpoint to start afresh")


def refuse_useless_optimizer(optimizer: Optimizer, probe: Make, model: nn.Module, saved: Mapping[str, Any]) -> None:
    """InputError if the optimiser could not make a step from there: it is tried with one made by `probe`, on copies.

    What an optimiser keeps is its own business, so nothing else can tell. One of another kind, which a method has made,
    is not tried.
    """
    copies = [nn.Parameter(p.detach().clone(), p.requires_grad) for p in model.parameters()]
    other = probe(iter(copies))
    sizes = ([len(group["params"]) for group in each["param_groups"]] for each in (other.state_dict(), saved))
    if type(other) is not type(optimizer) or len(set(map(tuple, sizes))) > 1:
        return
    try:
        other.load_state_dict(deepcopy(dict(saved)))
        for copy in copies:
            copy.grad = torch.zeros_like(copy) if copy.requires_grad else None
        other.step(lambda: 0.0)
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError, IndexError, OverflowError) as error:
        why = str(error).partition("\n")[0]
        raise InputError(
            f"the optimiser cannot go on from what the checkpoint has of it ({type(error).__name__}: {why}); "
            "delete the checkpoint to start afresh"
        ) from error


def _other_options(mine: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> list[str]:
    """Options that are of another kind than this optimiser's own."""
    return [
        f"{name} {theirs[at][name]!r}, where this one has {value!r}"
        for at, group in enumerate(mine)
        for name, value in group.items()
        if name in theirs[at] and not isinstance(theirs[at][name], Tensor) and not schema.alike(value, theirs[at][name])
    ]


def _other_shapes(optimizer: Optimizer, saved: Mapping[str, Any]) -> list[str]:
    """What is kept for a parameter that is not there, or in a shape that cannot be meant for it."""
    numbers = [number for group in saved["param_groups"] for number in group["params"]]
    if len(set(numbers)) != len(numbers):
        return ["a parameter twice"]
    every = dict(zip(numbers, (p for group in optimizer.param_groups for p in group["params"]), strict=True))
    wrong = [f"a state of parameter {n}, which it does not train" for n in saved["state"] if n not in every]
    return wrong + [
        f"{name} of shape {tuple(value.shape)} for a parameter of {tuple(every[number].shape)}"
        for number, kept in saved["state"].items()
        for name, value in kept.items()
        if number in every and isinstance(value, Tensor) and not _meant_for(every[number], value)
    ]


def _meant_for(parameter: Tensor, kept: Tensor) -> bool:
    """A number, one for each of the parameter's, or one for each of some of its dimensions."""
    if kept.dim() != parameter.dim():
        return kept.numel() == 1 or kept.dim() == 1  # steps; all parameters in one row, as L-BFGS has them
    return all(mine in (1, theirs) for mine, theirs in zip(kept.shape, parameter.shape, strict=True))
