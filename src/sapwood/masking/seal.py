"""Seals: whether anybody has written to a tensor since it was sealed. Asking takes no time; reading the tensor would.

Sealing marks the tensor's memory as copy-on-write, with nobody to share it. Whatever writes to it through PyTorch, by
`.data`, a view or a fused kernel too, or only asks for its address, takes the mark off; nothing is ever copied.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor

Seal = tuple[int, tuple[int, ...]]  # the memory and the strides; which one it is counts, not what is in it

_C: Any = torch._C
_lazy_clone: Any = getattr(torch, "_lazy_clone", None)
_marked: Any = getattr(_C, "_is_cow_tensor", None)
storage_of: Any = getattr(_C, "_storage_id", None)
_latest: dict[int, Seal] = {}  # memory -> its latest seal: who sealed it before must look at it again
MOST = 100_000  # seals remembered; those forgotten count as broken


def seal(tensor: Tensor) -> Seal | None:
    """Seal a tensor whose every entry is known to be right.

    None if a seal would prove nothing: memory that is shared with other tensors, with other processes or with numpy can
    change without PyTorch's knowing.
    """
    if not tensor.is_cpu or not _trustworthy() or not _whole(tensor):
        return None
    return _sealed(tensor)


def sealed_again(tensor: Tensor, before: Seal | None, alias: Tensor | None = None) -> Seal | None:
    """The same seal as before on the same memory, which its owner alone has written to; else a new one."""
    if before is None or not same_memory(tensor, before):
        return seal(tensor)
    _lazy_clone(tensor.data if alias is None else alias)
    return before


def same_memory(tensor: Tensor, seal: Seal) -> bool:
    """Whether the tensor is where it was when it got this seal."""
    return bool(storage_of(tensor) == seal[0]) and tensor.stride() == seal[1]


def newer(seal: Seal, alias: Tensor) -> Seal:
    """The next seal of this memory, known as `alias`; whoever else had sealed it must look at it again."""
    _lazy_clone(alias)
    at, strides = seal
    fresh = _latest[at] = (at, strides)
    return fresh


def unbroken(tensor: Tensor, seal: Seal | None) -> bool:
    """Whether nobody has written to the tensor since it got this seal."""
    return (
        seal is not None
        and _marked(tensor)
        and _latest.get(seal[0]) is seal
        and storage_of(tensor) == seal[0]
        and tensor.stride() == seal[1]
    )


def _whole(tensor: Tensor) -> bool:
    """Whether its memory is its own: no part of a larger one, and never given to numpy."""
    memory = tensor.untyped_storage()
    return memory.nbytes() == tensor.nbytes and memory.resizable()


def _sealed(tensor: Tensor) -> Seal | None:
    try:
        _lazy_clone(tensor.data if torch.is_grad_enabled() else tensor)  # dropped at once
    except RuntimeError:  # memory that PyTorch has not allocated itself
        return None
    if len(_latest) > MOST:
        _latest.clear()
    at = storage_of(tensor)
    fresh = _latest[at] = (at, tensor.stride())
    return fresh


@cache
def _trustworthy() -> bool:
    """Whether this PyTorch breaks a seal when something writes behind autograd's back, and not when something reads."""
    if None in (_lazy_clone, _marked, storage_of):
        return False
    tensor = torch.zeros(4)
    first = _sealed(tensor)
    read = bool((tensor == 0).all()) and unbroken(tensor, first)
    tensor.data.view(2, 2)[0].fill_(1)
    return read and not unbroken(tensor, first)
