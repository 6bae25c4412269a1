"""Fresh: a network's initial weights again, in place, from a seed of their own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from sapwood.errors import InputError

RESETS = ("reset_parameters", "_reset_parameters")  # the second is that of torch's attention and transformers


def reset(module: nn.Module, after: Callable[[nn.Module], None] | None = None) -> None:
    """Call what each layer has for drawing its first weights, inner layers first; running statistics begin anew.

    `after` is called with every layer once it has drawn, for a rule of its own. InputError names the parameters that
    no layer would draw.
    """
    drawn: set[int] = set()
    for layer in _inner_first(module):
        for name in RESETS:
            if callable(draw := getattr(layer, name, None)):
                draw()
                drawn |= {id(p) for p in layer.parameters()}
        if after is not None:
            after(layer)
    if left := [name for name, p in module.named_parameters() if id(p) not in drawn]:
        raise InputError(
            f"no layer of {type(module).__name__} has a reset_parameters that draws {', '.join(map(repr, left))}; "
            "give the task fresh=, a function that gives a network its first weights"
        )


@contextmanager
def seeded(module: nn.Module, seed: int) -> Iterator[None]:
    """The CPU's generator begins at `seed` inside, and is as it was afterwards.

    Inside, the module is on the CPU, so that weights do not depend on where it is.
    """
    places = {parameter.device for parameter in module.parameters()}
    if len(places) > 1:
        raise InputError(f"the module is on {', '.join(sorted(map(str, places)))}; put it on one device first")
    if type(seed) is not int or seed < 0:
        raise InputError(f"seed is {seed!r}; give a whole number of 0 or more")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        try:
            module.cpu()
            yield
        finally:
            module.to(next(iter(places), "cpu"))


def _inner_first(module: nn.Module) -> Iterator[nn.Module]:
    """The module and all within, those within first, in the order in which a constructor makes them."""
    for child in module.children():
        yield from _inner_first(child)
    yield module
