"""Gradients: those of a loss with respect to layers' weights, whatever else is in the way of seeing them.

A weight's gradient needs no look at its layer's calls: layers used several times, in-place operators behind them,
recomputed passes and modules that read a weight without calling its layer are all in it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from sapwood import processes
from sapwood.errors import InputError
from sapwood.scoring.layers import Weight

Used = dict[str, list[Tensor]]  # weight's name -> the tensors that stood for it in a pass: one, unless computed anew


@contextmanager
def differentiable(model: nn.Module, weights: Sequence[Weight]) -> Iterator[Used]:
    """Inside, gradients of these weights of the model can be had, of frozen ones too; filled while it runs.

    What a parameter is, it is always; a weight that is computed from others is what its layer used in each call. Of a
    weight that is sharded over processes (FSDP2) it is the gathered one, which each process has whole while it passes.
    """
    used = _standing(model, weights)
    hooks = [
        layer.register_forward_hook(_noting(used[weight.name]))
        for weight in weights
        if not used[weight.name]
        for layer in weight.layers
    ]
    own = [p for weight in weights for layer in weight.layers for p in layer.parameters()]
    try:
        frozen = thawed([*own, *(weight.tensor for weight in weights)])
        with torch.inference_mode(False), torch.enable_grad(), frozen, parametrize.cached():
            yield used
    finally:
        for hook in hooks:
            hook.remove()


def _standing(model: nn.Module, weights: Sequence[Weight]) -> Used:
    """The tensors that passes use for each weight; none for a weight that is computed."""
    used: Used = {weight.name: [weight.tensor] if _plain(weight) else [] for weight in weights}
    if parts := [weight for weight in weights if processes.sharded(weight.tensor)]:
        passing = processes.passing(model)
        used |= {weight.name: [passing.get(weight.parameter, weight.tensor)] for weight in parts if _plain(weight)}
        if odd := [
            weight.name for weight in parts if any(map(processes.sharded, used[weight.name] or [weight.tensor]))
        ]:
            raise InputError(
                f"the weight of {odd[0]!r} is sharded over processes (a DTensor), and computed from others or cut by "
                "other means than fully_shard, so that its gradient cannot be had; take it before the model is sharded"
            )
    return used


def _plain(weight: Weight) -> bool:
    return all(layer._parameters.get("weight") is weight.tensor for layer in weight.layers)


def _noting(found: list[Tensor]) -> Callable[..., None]:
    """A hook that collects what a layer's calls used for its weight, where that is computed anew."""

    def hook(layer: Any, *_: object) -> None:
        if all(layer.weight is not other for other in found):
            found.append(layer.weight)

    return hook


@contextmanager
def thawed(tensors: Iterable[Tensor]) -> Iterator[None]:
    """Frozen parameters take gradients inside, and are frozen again afterwards."""
    frozen = [t for t in tensors if t.is_leaf and not t.requires_grad and t.is_floating_point()]
    if any(t.is_inference() for t in frozen):
        raise InputError("the model was made in inference mode, so it can have no gradients; make it outside")
    try:
        for tensor in frozen:
            tensor.requires_grad_(True)
        yield
    finally:
        for tensor in frozen:
            tensor.requires_grad_(False)


def refuse_no_sum(loss: Any) -> Tensor:
    """The loss as it is; an InputError unless it is one number that depends on weights."""
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        given = f"tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        raise InputError(f"the loss is a {given}; give one number, the sum over the batch")
    if not loss.requires_grad:
        raise InputError("the loss depends on no weight: the model's outputs are detached, or made under no_grad")
    return loss


def along(
    total: Any, used: Used, others: Sequence[Any] = (), **options: Any
) -> tuple[dict[str, Tensor | None], list[Any]]:
    """d total / d weight, summed over what stood for each weight, and d total / d others; None where no way leads."""
    refuse_no_sum(total)
    used = {name: [tensor for tensor in its if tensor.requires_grad] for name, its in used.items()}
    flat = [tensor for its in used.values() for tensor in its]
    try:
        to = [*flat, *others]
        found = list(torch.autograd.grad(total, to, allow_unused=True, **options)) if to else []
    except RuntimeError:
        _refuse_reentrant(total)
        raise
    if len(flat) < len(used) or any(gradient is None for gradient in found[: len(flat)]):
        _refuse_reentrant(total)
    parts = iter(found)
    return {name: _sum([next(parts) for _ in its]) for name, its in used.items()}, found[len(flat) :]


def _refuse_reentrant(total: Tensor) -> None:
    """Reentrant checkpoints hide the weights inside of them, which then look as if they had no part in the loss."""
    todo, done = [total.grad_fn], set[Any]()
    while todo:
        node = todo.pop()
        if node is None or node in done:
            continue
        done.add(node)
        if node.name() == "CheckpointFunctionBackward":
            raise InputError(
                "activation checkpointing with use_reentrant=True hides the gradients of the weights inside of it; use "
                "use_reentrant=False, or switch checkpointing off, while scores are taken"
            )
        todo += [each for each, _ in node.next_functions]


def _sum(parts: list[Tensor | None]) -> Tensor | None:
    there = [part for part in parts if part is not None]
    return sum(there[1:], start=there[0]) if there else None


def refuse_unused(names: Sequence[str]) -> None:
    """Raise if there is any weight on which the loss never depended: its gradient says nothing."""
    if names:
        raise InputError(
            f"the loss does not depend on the weight of {', '.join(map(repr, names))}: never used, detached or under "
            "no_grad; leave it out, naming the others with only=[...]"
        )


def tensors(outputs: Any) -> Iterator[Tensor]:
    """Every tensor in a model's outputs: of a tuple, a list or a dict, all that is in it."""
    if isinstance(outputs, Tensor):
        yield outputs
    elif isinstance(outputs, tuple | list):
        for part in outputs:
            yield from tensors(part)
    elif hasattr(outputs, "values") and callable(outputs.values):
        yield from tensors(list(outputs.values()))
