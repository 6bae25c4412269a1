"""Skipped: what stands in place of a module whose branch was removed. It has no numbers and computes nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sapwood.errors import InputError

Skips = Mapping[str, tuple[bool, int, *tuple[int, ...]]]  # {path: (zero, parts, *sizes)}, as `Skipped` takes them


class Skipped(nn.Module):
    """Gives what it reads, or zeros of that shape where the branch was added up.

    It keeps the plain attributes of the module it replaces, as `stride`, which the code around it may ask for; its
    parameters are None. `parts`: what was there gave a tuple of so many; the others are None. `sizes`: of zeros of
    another shape, one for each dimension: so many, or below 0, as -2, every second of what it reads.
    """

    def __init__(self, original: nn.Module, *, zero: bool, parts: int = 0, sizes: Sequence[int] = ()) -> None:
        super().__init__()
        plain = {name: value for name, value in vars(original).items() if _is_plain(value)}
        vars(self).update(plain)
        for name in original._parameters:
            self.register_parameter(name, None)
        self.zero, self.parts, self.sizes = zero, parts, tuple(sizes)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What it reads is its first tensor."""
        x = next(value for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
        y = torch.zeros_like(x) if self.zero else x
        if self.sizes:
            y = x.new_zeros([n if n > 0 else -(read // n) for n, read in zip(self.sizes, x.shape, strict=True)])
        return (y, *[None] * (self.parts - 1)) if self.parts else y


def skip_(model: nn.Module, modules: Skips) -> nn.Module:
    """Put `Skipped` in place of modules. InputError names one that is not there."""
    known = dict(model.named_modules(remove_duplicate=False)) if isinstance(model, nn.Module) else {}
    for name, (zero, parts, *sizes) in modules.items():
        if not name or name not in known:
            raise InputError(f"there is no module {name!r} that could be left out")
        model.set_submodule(name, Skipped(known[name], zero=zero, parts=parts, sizes=sizes))
        around = model.get_submodule(name.rpartition(".")[0])
        if isinstance(around, nn.TransformerEncoderLayer):
            around.activation_relu_or_gelu = 0  # or torch would take all of its parts' weights for one fast operator
    return model


def skipped(model: nn.Module) -> dict[str, tuple[bool, int, *tuple[int, ...]]]:
    """The modules that are left out, as `skip_` takes them."""
    return {name: (each.zero, each.parts, *each.sizes) for name, each in model.named_modules() if type(each) is Skipped}


def _is_plain(value: Any) -> bool:
    """None, a number, a word, or a tuple or list of these."""
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))
