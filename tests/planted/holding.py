"""Bugs planted in holding masks, and in looking through them."""

from contextlib import ExitStack, contextmanager
from functools import partial
from unittest.mock import patch

import torch
from planted.mutant import bugs, instead
from torch.optim import SGD

from sapwood import masks
from sapwood.checks import holding
from sapwood.masking import holding as keeping
from sapwood.masking import looking, removed, seal, stepping
from sapwood.masking.looking import Force, Look
from sapwood.masking.removed import Removed

Held = keeping.Held


def held_laws():
    return holding.laws("SGD", partial(SGD, lr=0.1, momentum=0.9, weight_decay=0.01))


def nothing(*_, **__):
    pass


def multiplied():
    """As a mask is commonly put on; 0 * NaN is NaN."""
    both = ExitStack()
    both.enter_context(patch.object(Removed, "zero", lambda r, tensor: tensor.data.mul_(r.keep)))
    both.enter_context(patch.object(removed, "storage_of", lambda *_: None))
    return both


def gradients_only():
    """Weights are cleared when the mask is set and their gradients ever after; momentum is not thought of."""
    both = ExitStack()
    both.enter_context(patch.object(Look, "__call__", nothing))
    both.enter_context(patch.object(keeping, "attend", nothing))
    both.enter_context(patch.object(Removed, "clear_memory", nothing))
    return both


class FirstStepOnly(Held):
    """The mask is in force when it is set and after one step."""

    steps = 0

    def __init__(self, model, optimizer, masks, **options):
        super().__init__(model, optimizer, masks, **options)
        optimizer.register_step_post_hook(self._count)

    def _count(self, *_):
        self.steps += 1
        if self.steps == 2:
            self.release()


class Paralysed(Held):
    """Weights under a mask are not trained at all."""

    def __init__(self, model, optimizer, masks, **options):
        super().__init__(model, optimizer, masks, **options)
        weights = [each.weight for each in self._weights]
        optimizer.register_step_pre_hook(lambda *_: [setattr(w, "grad", None) for w in weights] and None)


class Thawing(Held):
    """A masked weight is made trainable."""

    def __init__(self, model, optimizer, masks, **options):
        super().__init__(model, optimizer, masks, **options)
        for each in self._weights:
            each.weight.requires_grad_(True)


class Renamed(Held):
    """The mask is kept in the model, as a buffer."""

    def __init__(self, model, optimizer, masks, **options):
        super().__init__(model, optimizer, masks, **options)
        model[0].register_buffer("mask", self.masks["0.weight"])


def first_mask_only(model, weights, force, real=looking.look_before, **options):
    """The model has been seen before, so its hooks are believed to be there."""
    known = hasattr(model, "held_before")
    model.held_before = True
    for each in weights if known else ():
        del force.known[id(each.weight)]
        each.let_go()
    return [] if known else real(model, weights, force, **options)


def by_version(tensor, known):
    """The count of writes that autograd knows of, which `.data` passes by."""
    return known is not None and known[0] == torch._C._storage_id(tensor) and known[1] == tensor.stride()


def always(signs, real=removed.as_bits):
    return lambda keep, dtype, **_: real(keep, dtype, signs=signs)


def unseen():
    every = ExitStack()
    for module in (looking, removed, stepping):
        every.enter_context(patch.object(module, "unbroken", by_version))
    return every


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
                "gradients masked, weights not": gradients_only,
                "the mask dropped after one step": instead(keeping, "Held", FirstStepOnly),
                "the first neuron's mask for all": instead(masks, "thin", lambda keep: keep[:1]),
            },
            "pruned weights have no optimiser state after any step": {
                "momentum of removed weights forgotten about": instead(Removed, "clear_memory", nothing)
            },
            "gradients of pruned weights are 0 from the backward pass on": {
                "gradients not masked before the step": instead(Removed, "_watch_gradient", nothing),
                "gradients masked when they are accumulated for the first time": instead(
                    Removed,
                    "clear_gradient",
                    lambda r, real=Removed.clear_gradient: real(r) if r._gradient() is None else None,
                ),
            },
            "a pruned weight whose gradient was NaN is 0": {
                "masks multiplied, so that NaN stays": multiplied,
                "a gradient that was cleared believed to stay so": instead(
                    Removed, "gradient_is_clear", lambda r: r._gradient() is not None
                ),
            },
            "pruned weights that somebody moved are 0 in the next forward pass": {
                "no look before the forward pass": instead(Look, "__call__", nothing),
                "writes behind autograd's back not seen": unseen,
                "memory that numpy knows sealed": instead(seal, "_whole", lambda tensor: True),
                "the parameter that was there at first looked at for ever": instead(Removed, "found", nothing),
            },
            "a pruned weight is 0.0 when its mask is set, and has the sign of what it was moved to later": {
                "the sign left when the mask is set": instead(removed, "as_bits", always(True)),
                "the sign cleared ever after": instead(removed, "as_bits", always(False)),
            },
            "copies of model and optimiser are held like the originals": {
                "a copy's hooks do nothing": instead(Look, "_bind", lambda look, *_: setattr(look, "ways", [])),
                "hooks not copied": instead(Look, "__deepcopy__", lambda look, memo: looking.nothing),
            },
            "kept weights go on learning": {"masked layers not trained": instead(keeping, "Held", Paralysed)},
            "frozen layers stay frozen": {"frozen layers thawed": instead(keeping, "Held", Thawing)},
            "names, copies and state_dict are those of the plain model": {
                "a mask among the model's tensors": instead(keeping, "Held", Renamed)
            },
            "nothing is left behind after release": {
                "hooks left on the weights": instead(Removed, "let_go", nothing),
                "copies held for ever": instead(
                    Force, "end", lambda f: [r().let_go() for r in f.known.values() if r()]
                ),
            },
            "a second mask replaces the first": {
                "a second mask not held": instead(keeping, "look_before", first_mask_only)
            },
            "released weights may grow back": {
                "release does nothing": instead(Held, "release", nothing),
                "hooks of steps left": instead(keeping, "dismiss", nothing),
            },
            "looking through a mask gives the dense weights back, also on failure": {
                "dense weights lost when the block raises": looking_through
            },
        },
    ),
)
