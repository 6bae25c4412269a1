"""Training: what a model runs in training mode only, such as heads that help it learn, and whether smaller ones run."""

from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from sapwood.errors import InputError, first_line
from sapwood.measure.example import Example, as_tuple, call
from sapwood.scoring.untouched import untouched
from sapwood.shrinking.tracing.bare import Copies, Numbers, inputs_for, meeting, ways
from sapwood.shrinking.tracing.graph import Graph, exported, written_out
from sapwood.shrinking.tracing.lines import culprit
from sapwood.shrinking.tracing.steps import Sizes, Steps


@dataclass(frozen=True)
class Trained:
    """What a model was run on, the shapes of its answers, the functions that it called, what views gave, and how."""

    inputs: tuple[Any, ...]
    shapes: list[torch.Size]
    steps: list[object]
    sizes: Sizes = field(compare=False)
    numbers: Numbers = field(compare=False)


def with_training(model: nn.Module, example: Example, copies: Copies | None = None) -> tuple[Graph, Trained | None]:
    """The model's graph, with what training mode runs where that is something else, and a run in that mode.

    The run is None where the mode changes nothing, or the model does not train on the example. Where the network ran in
    evaluation mode to find out, `copies` knows of that.
    """
    graph, copies = exported(model, example), copies or Copies(model)
    copies.plain = graph.plain
    run = in_training(copies, example, bare=graph.plain) if graph.by_mode else None
    if run is None:
        return graph, None
    evaluated = _ran(copies, run.inputs, training=False, bare=graph.plain)
    copies.evaluated = evaluated if _sizes(run.inputs) == _sizes(as_tuple(example)) else None
    if run == evaluated:
        return graph, None
    try:
        return replace(graph, training=exported(model, run.inputs, training=True)), run
    except InputError:
        return graph, run


def _sizes(inputs: Any) -> list[torch.Size]:
    return [x.shape for x in pytree.tree_leaves(inputs) if isinstance(x, Tensor)]


def in_training(model: nn.Module | Copies, example: Example, *, bare: bool = False) -> Trained | None:
    """A run on the example, or on it twice where batch norms ask for several samples; None if the model fails."""
    once, copies = as_tuple(example), model if isinstance(model, Copies) else Copies(model)
    twice = pytree.tree_map_only(Tensor, lambda x: torch.cat([x, x]) if x.dim() else x, once)
    runs = (_ran(copies, inputs, bare=bare) for inputs in (once, twice))
    return next((run for run in runs if isinstance(run, Trained)), None)


def _ran(copies: Copies, inputs: tuple[Any, ...], *, training: bool = True, bare: bool = False) -> Trained | str:
    """A run, or why there is none. A copy runs, so that statistics stay as they are.

    `bare`: without numbers, if it can; then it takes no time.
    """
    found: Trained | str = ""
    every: list[Numbers] = [*ways(copies.model)] if bare else ["all"]
    for numbers in every:
        found = _run_with(numbers, copies, inputs, training)
        if isinstance(found, Trained):
            break
    return found


def _run_with(numbers: Numbers, copies: Copies, inputs: tuple[Any, ...], training: bool) -> Trained | str:
    try:
        with (
            copies.fresh(numbers) as copy,
            untouched(copy, training=training),
            written_out(),
            meeting(numbers, copies),
            Steps(copy) as steps,
            Sizes() as sizes,
        ):
            outputs = call(copy, deepcopy(inputs_for(inputs, numbers)))
    except Exception as error:  # the model's own code
        return f"{first_line(error)}{culprit(error)}"
    return Trained(inputs, _sizes(outputs), steps.found, sizes, numbers)


def refuse_untrainable(small: nn.Module | Copies, run: Trained | None, *, bare: bool = False) -> None:
    """Raise unless a smaller model runs in training mode as the original has done; None: it has not.

    `bare`: a run without numbers will do.
    """
    if run is None:
        return
    found = _ran(small if isinstance(small, Copies) else Copies(small), run.inputs, bare=bare)
    if isinstance(found, Trained) and found.shapes == run.shapes:
        return
    said = found if isinstance(found, str) else f"its outputs have the shapes {[*map(tuple, found.shapes)]}"
    raise InputError(
        f"only training runs what the smaller network cannot run any more: {said}; keep all units that pass it"
    )
