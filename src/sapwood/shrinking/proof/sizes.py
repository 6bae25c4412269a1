"""Sizes: what views give, and numbers that arithmetic is done with, noted while a network runs.

A smaller network may run with a size that is wrong, as two heads of half the size instead of one whole. Nothing that
comes after needs to show it: an activation may be silent, a weight 0. So sizes are compared where they are used.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from sapwood.shrinking.cutting.cut import Keep, leaving
from sapwood.shrinking.proof.wide import outside, where
from sapwood.shrinking.tracing.site import Site

VIEWS = ("view", "reshape", "unflatten")
NUMBERS = {  # functions whose numbers are no sizes of what they give
    "mul", "rmul", "imul", "multiply", "div", "truediv", "rtruediv", "itruediv", "rdiv", "divide", "add", "radd",
    "iadd", "sub", "rsub", "isub", "pow", "rpow", "floordiv", "rfloordiv", "floor_divide", "mod", "remainder", "roll",
    "triu", "tril", "clamp", "lt", "le", "gt", "ge", "eq", "ne", "masked_fill",
}  # fmt: skip
NUMBER = ", so a size is a number there"
Wanted = dict[tuple[str, int, int], dict[int, int]]  # (operator, which call, of how many) -> {dimension: size}


class Sizes(TorchFunctionMode):
    """While open, notes {operator and line: shapes given, in order}, and the numbers in arithmetic."""

    def __init__(self) -> None:
        super().__init__()
        self.given = dict[str, list[tuple[torch.Size, list[int]]]]()  # with the modules in whose code
        self.numbers = list[tuple[str, str, list[float]]]()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """The function as it is."""
        out = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "").strip("_")
        if name in VIEWS and isinstance(out, Tensor):
            frame, operator = outside(), f"aten.{name} ({where('forward')})"  # as torch.export names lines
            held = frame.f_locals.values() if frame is not None else ()
            modules = [id(value) for value in held if isinstance(value, nn.Module)]
            self.given.setdefault(operator, []).append((out.shape, modules))
        elif name in NUMBERS:
            given = [part for part in (*args, *(kwargs or {}).values()) if type(part) in (int, float)]
            self.numbers += [(name, where(), given)] if given else []
        return out


@dataclass(frozen=True)
class Wrong:
    """A size that is not what it must be: what to say, in the code of which modules, how many before it were right."""

    text: str
    modules: list[int]
    right: int


def wanted(sites: Iterable[Site], keep: Keep) -> Wanted:
    """The sizes of a smaller network's views where units lie: as many positions as stay."""
    gone = dict[tuple[str, int, int, torch.Size, int], Tensor]()
    for site in (site for site in sites if site.name in keep):
        for use in site.uses:
            place = use.operator, use.call, use.calls, use.shape, use.dim
            here = leaving(use, keep[site.name])
            gone[place] = gone[place] | here if place in gone else here
    found: Wanted = {}
    for (operator, call, calls, shape, dim), here in gone.items():
        found.setdefault((operator, call, calls), dict(enumerate(shape)))[dim] = int((~here).sum())
    return found


def wrong_in(small: Sizes, wanted: Wanted, whole: Sizes) -> Wrong | None:
    """The first size that is not as wanted, or number that was another one in the whole network."""
    right = 0
    for (operator, call, calls), sizes in wanted.items():
        given = small.given.get(operator, [])
        if len(given) == calls:  # else some of them give nothing that is used: not known which
            shape, modules = given[call]
            if tuple(shape) != tuple(sizes.values()):
                said = f"{operator} would give {list(shape)} and not {list(sizes.values())}"
                return Wrong(said, modules, right)
            right += 1
    if len(small.numbers) == len(whole.numbers):
        for (name, line, one), (_, _, other) in zip(small.numbers, whole.numbers, strict=True):
            if str(one) != str(other):  # NaN too
                said = f"aten.{name} ({line}) would compute with {one} and not {other}{NUMBER}"
                return Wrong(said, [], right)
    return None


def unseen(small: Sizes, site: Site) -> bool:
    """Whether a view that works out a size by itself was not seen, with units of the site in what it gives."""
    return any(use.inferred and len(small.given.get(use.operator, ())) != use.calls for use in site.uses)
