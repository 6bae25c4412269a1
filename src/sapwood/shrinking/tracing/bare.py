"""Bare: running a model without numbers, on torch's meta device: shapes take no time.

Some code looks at its inputs, as at whether a mask hides anything. Then these keep their numbers: what is computed from
them alone has some, and what meets a parameter has none. Code that looks at numbers of parameters needs all.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from sapwood.shrinking.tracing.computed import computed, twin
from sapwood.shrinking.tracing.duplicate import duplicate
from sapwood.shrinking.tracing.graph import named_tensors
from sapwood.shrinking.tracing.reads import Number
from sapwood.shrinking.tracing.reused import Reused

Numbers = Literal["none", "inputs", "all"]  # which numbers a run has


def ways(model: nn.Module) -> Iterator[Numbers]:
    """In what order runs are tried. Without numbers torch runs recurrent layers step by step, which takes longer."""
    if not any(isinstance(module, nn.RNNBase) for module in model.modules()):
        yield "none"
        yield "inputs"
    yield "all"


class Copies:
    """Copies of a model to run, each as if just made; without numbers it is one, which is put back after every run.

    `whole`: one with numbers, to be put back as well; without it each is made anew.
    """

    def __init__(self, model: nn.Module, whole: Reused | None = None) -> None:
        self.model, self._bare, self._whole = model, Reused(lambda: ghost(model)), whole
        self.known: Known = {}  # what operators have given in runs before
        self.plain = False  # whether it is known by now that the model runs no graphs of its own, as of a condition
        self._change: Callable[[nn.Module], None] | None = None
        self.evaluated: Any = None  # how the model ran in evaluation mode on its example, if it is known by now

    def after(self, change: Callable[[nn.Module], None]) -> "Copies":
        """Such copies on which `change` has been done, as a cut."""
        changed = copy(self)
        changed._change = change
        return changed

    @cached_property
    def numbers(self) -> list[Number]:
        """The whole numbers in modules."""
        every = [(type(module), vars(module)) for module in self.model.modules()]
        return list(dict.fromkeys((kind, name) for kind, held in every for name, n in held.items() if type(n) is int))

    @contextmanager
    def fresh(self, numbers: Numbers) -> Iterator[nn.Module]:
        """One to run so."""
        whole = self._whole or Reused(lambda: twin(self.model))
        with whole.fresh() if numbers == "all" else self._bare.fresh() as one:
            if self._change is not None:
                self._change(one)
            yield one


def inputs_for(inputs: tuple[Any, ...], numbers: Numbers) -> tuple[Any, ...]:
    """What the copy is called with."""
    if numbers != "none":
        return inputs
    bare: tuple[Any, ...] = pytree.tree_map_only(Tensor, lambda x: x.to("meta"), inputs)
    return bare


@contextmanager
def meeting(numbers: Numbers, copies: Copies) -> Iterator[None]:
    """The context in which it is called."""
    if numbers == "all" or not (numbers == "inputs" or copies.plain):
        yield
        return
    mode = Meeting(copies.known, meets=numbers == "inputs")
    try:
        with mode:
            yield
    except torch._dynamo.exc.TorchDynamoException:
        mode.compiled = True
        raise
    finally:
        if mode.compiled:  # inside of a mode; outside of it that would not run
            torch._dynamo.reset()


class Meeting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While open, what has numbers and meets what has none loses them; numbers written in the code stay numbers.

    `meets=False`: it does not, and stops the run.

    What an operator gives without numbers follows from shapes, strides and types. Torch works it out in Python, and a
    network asks the same again and again, so it is noted.
    """

    supports_higher_order_operators = True

    def __init__(self, known: "Known | None" = None, *, meets: bool = True) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.known, self.meets = {} if known is None else known, meets
        self.compiled = False  # torch compiles what runs graphs of its own

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """The operator, on the meta device if one of its arguments is there."""
        given, bare = (args, dict(kwargs or {})), set[bool | None]()
        key = func, torch.get_default_dtype(), _told(args, bare), _told(tuple(given[1].items()), bare)
        if bare == {True} and key in self.known:
            return _empty(self.known[key])
        self.compiled |= not isinstance(func, torch._ops.OpOverload)
        if self.meets and {True, False} <= bare:
            given = pytree.tree_map_only(Tensor, lambda x: x.to("meta"), given)
        elif self.meets and True not in bare and str(given[1].get("device")) == "meta":  # asked for as a parameter's
            given[1]["device"] = torch.device("cpu")
        out = func(*given[0], **given[1])
        if bare == {True} and (like := _like(func, out)) is not None:
            self.known[key] = like
        return out


Like = tuple[torch.Size, tuple[int, ...], torch.dtype] | list["Like"]  # of a new tensor, or of several
Known = dict[object, Like]  # what operators give, by what they are given
PLAIN = (type(None), bool, int, float, str, torch.dtype, torch.device, torch.layout, torch.memory_format)


def _told(given: Any, bare: set[bool | None]) -> object:
    """What an operator is given, without numbers; adds to `bare` whether its tensors have none, None for what else."""
    kind = type(given)
    if kind in (Tensor, nn.Parameter):
        bare.add(given.is_meta if given.layout is torch.strided and not given.is_complex() else None)
        return given.shape, given.stride(), given.dtype
    if kind in (tuple, list):
        return tuple([_told(part, bare) for part in given])
    if kind not in PLAIN:
        bare |= {None, *(part.is_meta for part in pytree.tree_leaves(given) if isinstance(part, Tensor))}
    return kind, given


def _like(func: Any, out: Any) -> Like | None:
    """What new tensors without numbers are like; None where an operator gives something else."""
    schema = getattr(func, "_schema", None)
    if schema is None or schema.is_mutable or any(given.alias_info is not None for given in schema.arguments):
        return None
    if isinstance(out, tuple):
        parts = [_like(func, part) for part in out]
        return None if None in parts else parts  # type: ignore[return-value]
    plain = type(out) is Tensor and out.is_meta and out.layout is torch.strided and not out.is_complex()
    return (out.shape, out.stride(), out.dtype) if plain else None


def _empty(like: Like) -> Any:
    if isinstance(like, list):
        return tuple([_empty(part) for part in like])
    return torch.empty_strided(like[0], like[1], dtype=like[2], device="meta")


def ghost(model: nn.Module) -> nn.Module:
    """A copy whose parameters and buffers have shapes but no numbers."""
    memo = computed(model)
    for _, tensor in named_tensors(model):
        empty = torch.empty_like(tensor, device="meta")
        memo[id(tensor)] = nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
    return duplicate(model, memo)
