"""Around every step of every optimiser that has a masked weight: what is removed is 0 before it and after it.

One pair of torch's global hooks, as long as masks are in force: so an optimiser inside of another, a second one and a
copy are seen as well. Masks are known weakly; the hooks do nothing once the model that had them is gone.
"""

import math
from typing import Any
from weakref import ref

import torch
from torch.compiler import is_compiling
from torch.optim import SGD, Adam, AdamW
from torch.optim import optimizer as optimizers
from torch.utils.hooks import RemovableHandle

from sapwood import processes
from sapwood.masking import launched
from sapwood.masking.looking import Force
from sapwood.masking.removed import Removed
from sapwood.masking.seal import unbroken

NUMBER_BY_NUMBER = (SGD, Adam, AdamW)  # a weight of 0 whose gradient and memory are 0 is 0 after their step

_NONE = (0,)  # betas of an optimiser that has none
_forces: list[ref[Force]] = []
_handles: list[RemovableHandle] = []


def attend(force: Force) -> None:
    """From now on."""
    if not _handles:
        _handles.append(optimizers.register_optimizer_step_post_hook(_after))
    if force.gradients and len(_handles) == 1:
        _handles.append(optimizers.register_optimizer_step_pre_hook(_before))
    _forces[:] = [known for known in _forces if known() is not None] + [ref(force)]


def dismiss(force: Force) -> None:
    """No longer; the last one to go takes the hooks away."""
    _forces[:] = [known for known in _forces if known() not in (None, force)]
    while _handles and not _forces:
        _handles.pop().remove()


def _before(optimizer: Any, args: tuple[Any, ...], options: dict[str, Any]) -> None:
    """Only once masks are in force that are put on gradients: the others do without."""
    if is_compiling():
        return
    for known in _forces:
        force = known()
        if force is None or not force.gradients:
            continue
        state = optimizer.state
        force.proven.discard(id(optimizer))
        late: list[launched.Written] = []
        for removed in force.alive():
            if not removed.sealable or launched.suits(removed.weight):
                late += removed.written(state, gradient=True)
                continue
            if not unbroken(removed.weight, removed.sealed):
                removed.clear()
            if not removed.gradient_is_clear():
                removed.clear_gradient()
            if state:
                removed.clear_memory(state)
        if late:
            launched.clear(late)
        if _harmless(optimizer, args, options):
            force.proven.add(id(optimizer))


def _after(optimizer: Any, *_: Any) -> None:
    """Whichever optimiser it was: an unbroken seal tells whose weights it has not moved."""
    compiling = is_compiling()
    for known in _forces:
        force = known()
        if force is None:
            continue
        if compiling:
            _in_graph(force.of(optimizer))
            continue
        state, proven = optimizer.state, id(optimizer) in force.proven
        if proven:
            force.proven.discard(id(optimizer))
        late: list[launched.Written] = []
        for key, one in list(force.known.items()):  # `alive`, without the call
            removed = one()
            if removed is None or id(removed.weight) != key:
                continue
            if proven and removed.gradient_is_clear():
                removed.vouch(state)
                continue
            if not removed.sealable or launched.suits(removed.weight):
                late += removed.written(state)
                continue
            if not unbroken(removed.weight, removed.sealed):
                removed.clear()
            if state:
                removed.clear_memory(state)
        if late:
            launched.clear(late)


def _harmless(optimizer: Any, args: tuple[Any, ...], options: dict[str, Any]) -> bool:
    """Whether zeros stay zeros: no other hook has a say around the step, and no number makes NaN of 0."""
    if type(optimizer) not in NUMBER_BY_NUMBER or len(args) > 1 or options:
        return False
    if optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks:
        return False
    if len(optimizers._global_optimizer_pre_hooks) > 1 or len(optimizers._global_optimizer_post_hooks) > 1:
        return False
    return all(map(_ordinary, optimizer.param_groups))


def _ordinary(group: dict[str, Any]) -> bool:
    """Learning rate and the like are finite numbers, and what is divided by is not 0."""
    get, betas = group.get, group.get("betas", _NONE)
    for number in (group["lr"], group["weight_decay"], get("momentum", 0), get("dampening", 0), *betas):
        if not isinstance(number, (int, float)) or not math.isfinite(number):
            return False
    return bool(get("eps", 1) > 0 and max(betas) < 1)


def _in_graph(weights: list[Removed]) -> None:
    """The same while a compiler is looking on, in operations that it understands."""
    with torch.no_grad():
        for removed in weights:
            processes.own(removed.weight).masked_fill_(removed.keep.logical_not(), 0)
