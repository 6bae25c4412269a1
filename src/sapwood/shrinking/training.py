"""Training: what a model runs in training mode only, such as heads that help it learn, and whether smaller ones run."""

from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from sapwood.errors import InputError
from sapwood.measure.example import Example, as_tuple, call
from sapwood.measure.untouched import untouched
from sapwood.shrinking.cut import sharing
from sapwood.shrinking.duplicate import duplicate
from sapwood.shrinking.graph import Graph, exported, op_of
from sapwood.shrinking.lines import culprit, first_line

AS_BEFORE = ("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout", "clone", "alias", "detach")


@dataclass(frozen=True)
class Trained:
    """What a model was run on in training mode, and the shapes of its answers."""

    inputs: tuple[Any, ...]
    shapes: list[torch.Size]


def with_training(model: nn.Module, example: Example) -> tuple[Graph, Trained | None]:
    """The model's graph, with what training mode runs where that is something else, and a run in that mode.

    The run is None where the mode changes nothing, or the model does not train on the example.
    """
    graph = exported(model, example)
    run = in_training(model, example) if graph.by_mode else None
    if run is None:
        return graph, None
    try:
        other = exported(model, run.inputs, training=True)
    except InputError:
        return graph, run
    return (graph, None) if _form(graph) == _form(other) else (replace(graph, training=other), run)


def in_training(model: nn.Module, example: Example) -> Trained | None:
    """A run on the example, or on it twice where batch norms ask for several samples; None if the model fails."""
    once = as_tuple(example)
    twice = pytree.tree_map_only(Tensor, lambda x: torch.cat([x, x]) if x.dim() else x, once)
    runs = ((inputs, _shapes_of(model, inputs)) for inputs in (once, twice))
    return next((Trained(inputs, shapes) for inputs, shapes in runs if not isinstance(shapes, str)), None)


def _shapes_of(model: nn.Module, inputs: tuple[Any, ...]) -> list[torch.Size] | str:
    """The shapes of the answers, or why there are none. A copy runs, so that statistics stay as they are."""
    copy = duplicate(model, sharing(model))
    try:
        with untouched(copy, training=True):
            outputs = call(copy, deepcopy(inputs))
    except Exception as error:  # the model's own code
        return f"{first_line(error)}{culprit(error)}"
    return [x.shape for x in pytree.tree_leaves(outputs) if isinstance(x, Tensor)]


def refuse_untrainable(small: nn.Module, run: Trained | None) -> None:
    """Raise unless a smaller model runs in training mode as the original has done; None: it has not."""
    if run is not None and (found := _shapes_of(small, run.inputs)) != run.shapes:
        said = found if isinstance(found, str) else f"its outputs have the shapes {[*map(tuple, found)]}"
        raise InputError(f"only training runs what the smaller network cannot run any more: {said}; keep all units "
                         "that pass it")  # fmt: skip


def _form(graph: Graph) -> list[object]:
    """What the operators are and how they hang together; numbers that are no sizes, as dropout's, are left out."""
    place: dict[fx.Node, object] = {}
    form: list[object] = []
    for node in graph.module.graph.nodes:
        first = node.args[0] if node.args else None
        if node.op == "placeholder":
            place[node] = graph.tensors.get(node.name, node.name)
        elif isinstance(first, fx.Node) and op_of(node) in AS_BEFORE:
            place[node] = place[first]
        elif op_of(node) != "add" or not isinstance(first, fx.Node) or first.op != "placeholder" or node.users:
            given = pytree.tree_map(lambda part: _placed(part, place), (node.args, node.kwargs))
            place[node] = len(form)
            form.append((node.op, str(node.target), given))
    return form


def _placed(part: Any, place: dict[fx.Node, object]) -> object:
    return place[part] if isinstance(part, fx.Node) else None if isinstance(part, float | bool) else part
