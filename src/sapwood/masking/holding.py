"""Holding masks: removed weights stay exactly 0 whoever moves them, and so does what optimisers remember of them.

Works with any optimiser and any training loop; no parameter is renamed, no layer replaced. Removed entries are cleared
in three places: in the gradient when it arrives, around every step of an optimiser that has the weight (in its memory
too), and before every forward pass, for whatever else may have happened. Each asks first whether anybody has written
there since (`seal`), so that what is provably 0 is not read again.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sapwood import processes
from sapwood.called import checked
from sapwood.currency import Masks
from sapwood.masking import masks as mask
from sapwood.masking import named
from sapwood.masking.looking import Force, look_before
from sapwood.masking.removed import Removed
from sapwood.masking.sharded import Sharded
from sapwood.masking.stepping import attend, dismiss
from sapwood.masking.wrapped import behind, refuse_foreign


class Held:
    """Masks in force on a model and its optimiser, until `release`. Also a context manager."""

    @torch.no_grad()
    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        masks: Mapping[str, Tensor],
        *,
        gradients: bool = True,
        parts: bool = True,
    ) -> None:
        """`gradients` as for `hold`; parts=False looks before passes of the whole model only, for `Run`'s own loop."""
        processes.reshard(model)
        weights = named.masked(model, masks)
        refuse_foreign({each.names[0]: each.weight for each in weights}, optimizer)
        processes.agree(masks)
        self.masks: Masks = {name: each.keep for each in weights for name in each.names}
        self._force = Force(gradients)
        self._weights = [_kind(each.weight)(each, gradients, self._force.known) for each in weights]
        for removed in self._weights:
            removed.begin()
            for each in behind(optimizer):
                removed.clear_memory(getattr(each, "state", {}))
            if gradients:
                removed.clear_gradient()
        self._handles = look_before(model, self._weights, self._force, parts=parts)
        attend(self._force)
        _forget_compiled()

    def release(self) -> None:
        """Masks are held no longer; the weights stay as they are and may grow back."""
        if not self._force.on:
            return
        self._force.end()
        dismiss(self._force)
        for handle in self._handles:
            handle.remove()
        _forget_compiled()

    def aside(self) -> None:
        """Nobody looks around optimisers' steps: who makes those of this model sees to its masks, until `back`."""
        dismiss(self._force)

    def back(self) -> None:
        """Look around optimisers' steps again."""
        dismiss(self._force)
        if self._force.on:
            attend(self._force)

    def __enter__(self) -> "Held":
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()


@checked(masks="a dict of masks, {parameter name: bool tensor, True where it is kept}")
def hold(model: nn.Module, optimizer: Optimizer, masks: Mapping[str, Tensor], *, gradients: bool = True) -> Held:
    """Prune `model` now and keep it pruned until released, in anybody's training loop.

    masks: {parameter name: bool tensor of its shape}; a weight that is sharded (FSDP2) may have its whole mask, or a
    DTensor sharded as it is. Removed weights are 0 in every forward pass and after every
    step, in copies of the model as well; what cannot be kept so is an InputError. Their gradients are 0 from the
    backward pass on; gradients=False leaves them, for methods that look at them to let weights grow back.
    For more sparsity later, release and hold the new masks.

    >>> net = nn.Linear(2, 1)
    >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    >>> with hold(net, optimizer, {"weight": torch.tensor([[True, False]])}):
    ...     net(torch.ones(1, 2)).sum().backward()
    ...     optimizer.step()
    >>> net.weight[0, 1].item()
    0.0
    """
    return Held(model, optimizer, masks, gradients=gradients)


@contextmanager
def seen_through(model: nn.Module, masks: Mapping[str, Tensor]) -> Iterator[None]:
    """Inside the block the model's weights are masked; afterwards they have their dense values back.

    Forward and backward inside, the optimiser's step outside: the pruned weights then keep learning from the
    gradient that the masked network gives them (straight-through), and may be kept again by a later mask.
    """
    parameters = processes.parameters(model)
    dense = {name: parameters[name].detach().clone() for name in masks}
    mask.apply_(parameters, masks)
    try:
        yield
    finally:
        processes.reshard(model)
        with torch.no_grad():
            for name, value in dense.items():
                parameters[name].copy_(value)


def _kind(weight: Tensor) -> type[Removed]:
    return Sharded if processes.sharded(weight) else Removed


def _forget_compiled() -> None:
    """What torch.compile has made before does not know of hooks that came later, nor that hooks have gone."""
    if "torch._dynamo.convert_frame" in sys.modules and sys.modules["torch._dynamo.convert_frame"].input_codes.seen:
        torch.compiler.reset()
