"""Around every step of every optimiser that has a masked weight: what is removed is 0 before it and after it.

One pair of torch's global hooks, as long as masks are in force: so an optimiser inside of another, a second one and a
copy are seen as well. Masks are known weakly; the hooks do nothing once the model that had them is gone.
"""

import math
from typing import Any
from weakref import ref

import torch
from torch.optim import SGD, Adam, AdamW
from torch.optim import optimizer as optimizers
from torch.utils.hooks import RemovableHandle

from sapwood.looking import Force
from sapwood.removed import Removed

NUMBER_BY_NUMBER = (SGD, Adam, AdamW)  # a weight of 0 whose gradient and memory are 0 is 0 after their step

_forces: list[ref[Force]] = []
_handles: list[RemovableHandle] = []


def attend(force: Force) -> None:
    """From now on."""
    if not _handles:
        _handles.append(optimizers.register_optimizer_step_pre_hook(_before))
        _handles.append(optimizers.register_optimizer_step_post_hook(_after))
    _forces[:] = [known for known in _forces if known() is not None] + [ref(force)]


def dismiss(force: Force) -> None:
    """No longer; the last one to go takes the hooks away."""
    _forces[:] = [known for known in _forces if known() not in (None, force)]
    while _handles and not _forces:
        _handles.pop().remove()


def _before(optimizer: Any, args: tuple[Any, ...], options: dict[str, Any]) -> None:
    if torch.compiler.is_compiling():
        return
    for known in _forces:
        force = known()
        if force is None:
            continue
        force.proven.pop(id(optimizer), None)
        mine = force.of(optimizer)
        if not mine or not mine[0].gradients:
            continue
        for removed in mine:
            if not removed.is_clear():
                removed.clear()
            if not removed.gradient_is_clear():
                removed.clear_gradient()
            if optimizer.state:
                removed.clear_memory(optimizer.state)
        if _harmless(optimizer, args, options):
            force.proven[id(optimizer)] = mine


def _after(optimizer: Any, *_: Any) -> None:
    for known in _forces:
        force = known()
        if force is None:
            continue
        if torch.compiler.is_compiling():
            _in_graph(force.of(optimizer))
            continue
        proven = force.proven.pop(id(optimizer), None)
        for removed in proven or force.of(optimizer):
            if proven and removed.gradient_is_clear():
                removed.vouch(optimizer.state)
            else:
                removed.clear()
                removed.clear_memory(optimizer.state)


def _harmless(optimizer: Any, args: tuple[Any, ...], options: dict[str, Any]) -> bool:
    """Whether zeros stay zeros: no other hook has a say before the step, and no number makes NaN of 0."""
    if type(optimizer) not in NUMBER_BY_NUMBER or len(args) > 1 or options:
        return False
    others = optimizer._optimizer_step_pre_hooks or len(optimizers._global_optimizer_pre_hooks) > 1
    return not others and all(map(_ordinary, optimizer.param_groups))


def _ordinary(group: dict[str, Any]) -> bool:
    """Learning rate and the like are finite numbers, and what is divided by is not 0."""
    betas = group.get("betas", (0,))
    numbers = (group["lr"], group["weight_decay"], group.get("momentum", 0), group.get("dampening", 0), *betas)
    finite = all(isinstance(number, (int, float)) and math.isfinite(number) for number in numbers)
    return finite and group.get("eps", 1) > 0 and max(betas) < 1


def _in_graph(weights: list[Removed]) -> None:
    """The same while a compiler is looking on, in operations that it understands."""
    with torch.no_grad():
        for removed in weights:
            removed.weight.masked_fill_(removed.keep.logical_not(), 0)
