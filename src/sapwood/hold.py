"""Holding masks: pruned weights stay exactly 0, and so does what the optimiser remembers of them.

Works with any optimiser and any training loop: a hook on the optimiser, nothing on the model, no renamed
parameters. After every step the masked weights and their optimiser state (momentum, moments, squared gradients:
whatever has the weight's shape) are multiplied by the mask. Masking gradients alone would not do: momentum and
weight decay move a weight without any gradient.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sapwood import masks as mask
from sapwood.errors import InputError
from sapwood.masks import Masks


class Held:
    """Masks in force on a model and its optimiser, until `release`. Also a context manager."""

    def __init__(self, model: nn.Module, optimizer: Optimizer, masks: Mapping[str, Tensor]) -> None:
        parameters = dict(model.named_parameters())
        mask.validate(masks, parameters)
        _refuse_foreign(parameters, optimizer, masks)
        self.masks: Masks = {name: keep.to(parameters[name].device) for name, keep in masks.items()}
        self._optimizer = optimizer
        self._weights: list[Tensor] = [parameters[name] for name in masks]
        # Multiplying by a float mask is several times faster than filling by a bool one.
        self._factors = [mask.thin(self.masks[n]).to(parameters[n].dtype) for n in masks]
        mask.apply_(parameters, self.masks)
        self._enforce()
        self._hook = optimizer.register_step_post_hook(lambda *_: self._enforce())

    @torch.no_grad()
    def _enforce(self) -> None:
        if not self._weights:
            return
        torch._foreach_mul_(self._weights, self._factors)
        if not self._optimizer.state:  # plain SGD: asking for each weight would take as long as masking a small one
            return
        for weight, factor in zip(self._weights, self._factors, strict=True):
            for value in self._optimizer.state.get(weight, _NOTHING).values():
                if isinstance(value, Tensor) and value.shape == weight.shape:
                    value.mul_(factor)

    def release(self) -> None:
        """Masks are held no longer; the weights stay as they are and may grow back."""
        self._hook.remove()

    def __enter__(self) -> "Held":
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()


_NOTHING: dict[str, Any] = {}


def hold(model: nn.Module, optimizer: Optimizer, masks: Mapping[str, Tensor]) -> Held:
    """Prune `model` now and keep it pruned through every `optimizer.step()`, in anybody's training loop.

    masks: {parameter name: bool tensor of its shape}. For more sparsity later, release and hold the new masks.
    """
    return Held(model, optimizer, masks)


@contextmanager
def seen_through(model: nn.Module, masks: Mapping[str, Tensor]) -> Iterator[None]:
    """Inside the block the model's weights are masked; afterwards they have their dense values back.

    Forward and backward inside, the optimiser's step outside: the pruned weights then keep learning from the
    gradient that the masked network gives them (straight-through), and may be kept again by a later mask.
    """
    parameters = dict(model.named_parameters())
    dense = {name: parameters[name].detach().clone() for name in masks}
    mask.apply_(parameters, masks)
    try:
        yield
    finally:
        with torch.no_grad():
            for name, value in dense.items():
                parameters[name].copy_(value)


def _refuse_foreign(parameters: Mapping[str, nn.Parameter], optimizer: Optimizer, masks: Mapping[str, Tensor]) -> None:
    """A trainable masked weight must belong to this optimiser, or its steps would undo the mask."""
    mine = {id(p) for group in optimizer.param_groups for p in group["params"]}
    for name in masks:
        if parameters[name].requires_grad and id(parameters[name]) not in mine:
            raise InputError(
                f"parameter {name!r} is masked but not in the optimiser; "
                "pass the optimiser that trains it, or freeze it with requires_grad_(False)"
            )
