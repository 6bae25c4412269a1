"""Steps: the functions of torch that a model calls and how they hang together, to see whether two runs are alike."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from sapwood.shrinking.tracing.graph import named_tensors
from sapwood.shrinking.tracing.lines import where

PASSED = ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout", "clone", "detach")
BY_MODE = ("p", "dropout_p", "dropout", "training")  # what the mode alone may change about a function
WRITING = ("add_", "__iadd__", "copy_", "mul_", "lerp_")
VIEWS = ("view", "reshape", "unflatten")
NUMBERS = {  # functions whose numbers are no sizes of what they give
    "mul", "rmul", "imul", "multiply", "div", "truediv", "rtruediv", "itruediv", "rdiv", "divide", "add", "radd",
    "iadd", "sub", "rsub", "isub", "pow", "rpow", "floordiv", "rfloordiv", "floor_divide", "mod", "remainder", "roll",
    "triu", "tril", "clamp", "lt", "le", "gt", "ge", "eq", "ne", "masked_fill",
}  # fmt: skip


class Sizes(TorchFunctionMode):
    """While open, notes {operator and line: shapes given, in order}, and the numbers in arithmetic."""

    def __init__(self) -> None:
        super().__init__()
        self.given = dict[str, list[torch.Size]]()
        self.numbers = list[tuple[str, str, list[float]]]()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """The function as it is."""
        out = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "").strip("_")
        if name in VIEWS and isinstance(out, Tensor):
            operator = f"aten.{name} ({where('forward')})"  # as torch.export names lines
            self.given.setdefault(operator, []).append(out.shape)
        elif name in NUMBERS:
            given = [part for part in (*args, *(kwargs or {}).values()) if type(part) in (int, float)]
            self.numbers += [(name, where(), given)] if given else []
        return out


class Steps(TorchFunctionMode):
    """While open, lists each function with what it was given: names of parameters, numbers of earlier steps, sizes.

    Numbers that are no sizes, as the share that dropout leaves out, are not told apart, and dropout does nothing.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.found: list[object] = []
        self._buffers = {id(buffer) for buffer in model.buffers()}
        self._place: dict[int, object] = {id(tensor): name for name, tensor in named_tensors(model)}
        self._kept: list[Any] = []  # so that no other tensor gets the id of one that is gone

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """The function as it is."""
        kwargs = kwargs or {}
        counts = {key: value for key, value in kwargs.items() if key not in BY_MODE}
        name, given = getattr(func, "__name__", ""), self._each((args, counts))
        out = func(*args, **kwargs)
        self._kept.append((args, kwargs, out))
        parts = [out] if isinstance(out, Tensor) else [x for x in pytree.tree_leaves(out) if isinstance(x, Tensor)]
        if name in PASSED and parts and args and id(args[0]) in self._place:
            self._place[id(out)] = self._place[id(args[0])]
        elif not (name in WRITING and id(args[0]) in self._buffers):  # statistics that only training counts
            self._place |= {id(part): (len(self.found), n) for n, part in enumerate(parts)}
            self.found.append((name, given, [part.shape for part in parts]))
        return out

    def _each(self, given: Any) -> object:
        """As `tree_map`, which takes longer."""
        if type(given) in (tuple, list):
            return type(given)([self._each(part) for part in given])
        return self._told(given) if isinstance(given, Tensor | int | str) else pytree.tree_map(self._told, given)

    def _told(self, part: Any) -> object:
        if isinstance(part, Tensor):
            return self._place.setdefault(id(part), f"input {len(self._place)}")
        if isinstance(part, slice):
            return part.start, part.stop, part.step
        plain = isinstance(part, str | torch.dtype) or (isinstance(part, int) and not isinstance(part, bool))
        return part if plain else type(part).__name__
