"""Ancestry: which networks of this process were made smaller, so that no file takes one of them for an original."""

from weakref import WeakSet

from torch import nn

_SMALLER = WeakSet[nn.Module]()  # nothing is written on the networks themselves, and none is kept alive


def note_smaller(model: nn.Module) -> None:
    """Remember that the code of a network's class does not build it at this size."""
    _SMALLER.add(model)


def is_smaller(model: nn.Module) -> bool:
    """Whether a network was made smaller in this process: by `shrink`, `compact`, `prune`, `load` and their like."""
    return model in _SMALLER


def descended(small: nn.Module, model: nn.Module) -> nn.Module:
    """`small`, which was made of `model`; remembered where it has other sizes, or `model` was smaller itself."""
    if is_smaller(model) or _sizes(small) != _sizes(model):
        note_smaller(small)
    return small


def _sizes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in (*model.named_parameters(), *model.named_buffers())}
