"""Bugs planted in holding masks, and in looking through them."""

from contextlib import ExitStack, contextmanager
from functools import partial
from importlib import import_module
from unittest.mock import patch

import torch
from planted.mutant import bugs, instead
from torch.optim import SGD

from sapwood import masks
from sapwood.checks import holding

keeping = import_module("sapwood.hold")  # the package gives this name to the function in it; the module is wanted here
Held = keeping.Held


def held_laws():
    return holding.laws("SGD", partial(SGD, lr=0.1, momentum=0.9, weight_decay=0.01))


class GradientsOnly(Held):
    """Weights are cleared once and their gradients ever after; momentum is not thought of."""

    def __init__(self, model, optimizer, masks):
        super().__init__(model, optimizer, masks)
        optimizer.register_step_pre_hook(lambda *_: self._clear())

    def _enforce(self):
        pass

    def _clear(self):
        for weight, factor in zip(self._weights, self._factors, strict=True):
            if weight.grad is not None:
                weight.grad.mul_(factor)


class FirstStepOnly(Held):
    """The mask is in force when it is set and after one step."""

    times = 2

    def _enforce(self):
        self.times -= 1
        if self.times >= 0:
            super()._enforce()


class WeightsOnly(Held):
    """The optimiser goes on remembering removed weights."""

    def _enforce(self):
        with torch.no_grad():
            torch._foreach_mul_(self._weights, self._factors)


class Paralysed(Held):
    """Weights under a mask are not trained at all."""

    def __init__(self, model, optimizer, masks):
        super().__init__(model, optimizer, masks)
        optimizer.register_step_pre_hook(lambda *_: [setattr(w, "grad", None) for w in self._weights] and None)


class Thawing(Held):
    """A masked weight is made trainable."""

    def __init__(self, model, optimizer, masks):
        super().__init__(model, optimizer, masks)
        for weight in self._weights:
            weight.requires_grad_(True)


class Hooked(Held):
    """A hook on the model as well."""

    def __init__(self, model, optimizer, masks):
        super().__init__(model, optimizer, masks)
        model.register_forward_pre_hook(lambda *_: None)


class FirstMaskOnly(Held):
    """The optimiser has been seen before, so its hook is believed to be there."""

    def __init__(self, model, optimizer, masks):
        super().__init__(model, optimizer, masks)
        if getattr(optimizer, "held_before", False):
            self._hook.remove()
        optimizer.held_before = True


@contextmanager
def not_brought_back(model, masks_):
    parameters = dict(model.named_parameters())
    dense = {name: parameters[name].detach().clone() for name in masks_}
    masks.apply_(parameters, masks_)
    yield
    with torch.no_grad():
        for name, value in dense.items():
            parameters[name].copy_(value)


def looking_through():
    both = ExitStack()
    for module in (keeping, holding):
        both.enter_context(patch.object(module, "seen_through", not_brought_back))
    return both


MUTANTS = (
    *bugs(
        "holding with SGD",
        held_laws,
        {
            "pruned weights are exactly 0 after every step": {
                "gradients masked, weights not": instead(keeping, "Held", GradientsOnly),
                "the mask dropped after one step": instead(keeping, "Held", FirstStepOnly),
                "the first neuron's mask for all": instead(masks, "thin", lambda keep: keep[:1]),
            },
            "pruned weights have no optimiser state after any step": {
                "momentum of removed weights forgotten about": instead(keeping, "Held", WeightsOnly)
            },
            "kept weights go on learning": {"masked layers not trained": instead(keeping, "Held", Paralysed)},
            "frozen layers stay frozen": {"frozen layers thawed": instead(keeping, "Held", Thawing)},
            "names, copies and state_dict are those of the plain model": {
                "a hook on the model": instead(keeping, "Held", Hooked)
            },
            "a second mask replaces the first": {"a second mask not held": instead(keeping, "Held", FirstMaskOnly)},
            "released weights may grow back": {"release does nothing": instead(Held, "release", lambda held: None)},
            "looking through a mask gives the dense weights back, also on failure": {
                "dense weights lost when the block raises": looking_through
            },
        },
    ),
)
