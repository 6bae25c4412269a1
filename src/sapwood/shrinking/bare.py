"""Bare: running a model without numbers, on torch's meta device: shapes take no time.

Some code looks at its inputs, as at whether a mask hides anything. Then these keep their numbers: what is computed from
them alone has some, and what meets a parameter has none. Code that looks at numbers of parameters needs all.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from sapwood.shrinking.computed import computed
from sapwood.shrinking.cut import sharing
from sapwood.shrinking.duplicate import duplicate
from sapwood.shrinking.graph import named_tensors

Numbers = Literal["none", "inputs", "all"]  # which numbers a run has


def ways(model: nn.Module) -> Iterator[Numbers]:
    """In what order runs are tried. Without numbers torch runs recurrent layers step by step, which takes longer."""
    if not any(isinstance(module, nn.RNNBase) for module in model.modules()):
        yield "none"
        yield "inputs"
    yield "all"


def copy_for(model: nn.Module, numbers: Numbers) -> nn.Module:
    """A copy to run so."""
    return duplicate(model, sharing(model)) if numbers == "all" else ghost(model)


def inputs_for(inputs: tuple[Any, ...], numbers: Numbers) -> tuple[Any, ...]:
    """What the copy is called with."""
    if numbers != "none":
        return inputs
    bare: tuple[Any, ...] = pytree.tree_map_only(Tensor, lambda x: x.to("meta"), inputs)
    return bare


@contextmanager
def meeting(numbers: Numbers) -> Iterator[None]:
    """The context in which it is called."""
    if numbers != "inputs":
        yield
        return
    mode = Meeting()
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
    """While open, what has numbers and meets what has none loses them; numbers written in the code stay numbers."""

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.compiled = False  # torch compiles what runs graphs of its own

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """The operator, on the meta device if one of its arguments is there."""
        given = args, dict(kwargs or {})
        self.compiled |= not isinstance(func, torch._ops.OpOverload)
        bare = {part.is_meta for part in pytree.tree_leaves(given) if isinstance(part, Tensor)}
        if len(bare) == 2:
            given = pytree.tree_map_only(Tensor, lambda x: x.to("meta"), given)
        elif True not in bare and str(given[1].get("device")) == "meta":  # the code asks for a parameter's device
            given[1]["device"] = torch.device("cpu")
        return func(*given[0], **given[1])


def ghost(model: nn.Module) -> nn.Module:
    """A copy whose parameters and buffers have shapes but no numbers."""
    memo = computed(model)
    for _, tensor in named_tensors(model):
        empty = torch.empty_like(tensor, device="meta")
        memo[id(tensor)] = nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
    return duplicate(model, memo)
