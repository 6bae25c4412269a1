"""Training: what a model runs in training mode only, such as heads that help it learn, and whether smaller ones run."""

from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from sapwood.errors import InputError
from sapwood.measure.example import Example, as_tuple, call
from sapwood.measure.untouched import untouched
from sapwood.shrinking.bare import Numbers, copy_for, inputs_for, meeting, ways
from sapwood.shrinking.graph import Graph, exported, written_out
from sapwood.shrinking.lines import culprit, first_line
from sapwood.shrinking.steps import Steps


@dataclass(frozen=True)
class Trained:
    """What a model was run on in training mode, the shapes of its answers, and the functions that it called."""

    inputs: tuple[Any, ...]
    shapes: list[torch.Size]
    steps: list[object]


def with_training(model: nn.Module, example: Example) -> tuple[Graph, Trained | None]:
    """The model's graph, with what training mode runs where that is something else, and a run in that mode.

    The run is None where the mode changes nothing, or the model does not train on the example.
    """
    graph = exported(model, example)
    run = in_training(model, example, bare=graph.plain) if graph.by_mode else None
    if run is None or run == _ran(model, run.inputs, training=False, bare=graph.plain):
        return graph, None
    try:
        return replace(graph, training=exported(model, run.inputs, training=True)), run
    except InputError:
        return graph, run


def in_training(model: nn.Module, example: Example, *, bare: bool = False) -> Trained | None:
    """A run on the example, or on it twice where batch norms ask for several samples; None if the model fails."""
    once = as_tuple(example)
    twice = pytree.tree_map_only(Tensor, lambda x: torch.cat([x, x]) if x.dim() else x, once)
    runs = (_ran(model, inputs, bare=bare) for inputs in (once, twice))
    return next((run for run in runs if isinstance(run, Trained)), None)


def _ran(model: nn.Module, inputs: tuple[Any, ...], *, training: bool = True, bare: bool = False) -> Trained | str:
    """A run, or why there is none. A copy runs, so that statistics stay as they are.

    `bare`: without numbers, if it can; then it takes no time.
    """
    found: Trained | str = ""
    every: list[Numbers] = [*ways(model)] if bare else ["all"]
    for numbers in every:
        found = _run_with(numbers, model, inputs, training)
        if isinstance(found, Trained):
            break
    return found


def _run_with(numbers: Numbers, model: nn.Module, inputs: tuple[Any, ...], training: bool) -> Trained | str:
    copy = copy_for(model, numbers)
    steps = Steps(copy)
    try:
        with untouched(copy, training=training), written_out(), meeting(numbers), steps:
            outputs = call(copy, deepcopy(inputs_for(inputs, numbers)))
    except Exception as error:  # the model's own code
        return f"{first_line(error)}{culprit(error)}"
    return Trained(inputs, [x.shape for x in pytree.tree_leaves(outputs) if isinstance(x, Tensor)], steps.found)


def refuse_untrainable(small: nn.Module, run: Trained | None, *, bare: bool = False) -> None:
    """Raise unless a smaller model runs in training mode as the original has done; None: it has not.

    `bare`: a run without numbers will do.
    """
    if run is None:
        return
    found = _ran(small, run.inputs, bare=bare)
    if isinstance(found, Trained) and found.shapes == run.shapes:
        return
    said = found if isinstance(found, str) else f"its outputs have the shapes {[*map(tuple, found.shapes)]}"
    raise InputError(
        f"only training runs what the smaller network cannot run any more: {said}; keep all units that pass it"
    )
