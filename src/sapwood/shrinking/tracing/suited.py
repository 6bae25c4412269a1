"""Suited: models and examples of kinds that cannot be analysed, each refused in words of its own."""

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils import _pytree as pytree

from sapwood.errors import InputError


def refuse_unsuited(model: nn.Module, example: Any) -> None:
    """Raise for what is no model of plain tensors yet, or any more, and for an example without samples."""
    if not isinstance(model, nn.Module):
        raise InputError(f"the model is a {type(model).__name__}; give an nn.Module")
    for name, module in model.named_modules():
        where = f"module {name!r}" if name else "the model"
        if isinstance(module, torch._dynamo.eval_frame.OptimizedModule):
            raise InputError(f"{where} was made by torch.compile; give the one it was made of, and compile the smaller")
        if isinstance(module, torch.jit.ScriptModule):
            raise InputError(f"{where} is a ScriptModule, whose code is fixed; give the module it was made of")
        if type(module).__module__.startswith(("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized")):
            raise InputError(f"{where} is quantised ({type(module).__name__}); shrink first, quantise then")
    lazy = [name for name, p in (*model.named_parameters(), *model.named_buffers()) if is_lazy(p)]
    if lazy:
        raise InputError(f"{lazy[0]!r} has no size yet; run the model once, so that its lazy layers get theirs")
    _refuse_no_tensors(model, example)
    empty = [tuple(x.shape) for x in pytree.tree_leaves(example) if isinstance(x, Tensor) and x.numel() == 0]
    if empty:
        raise InputError(f"the example holds a tensor of shape {empty[0]}; give at least one sample")


def _refuse_no_tensors(model: nn.Module, example: Any) -> None:
    """Raise for what people give in place of a tensor: nothing, an array of numpy's, a shape."""
    if example is None:
        raise InputError("the example is None; give a batch as forward takes it, for example images[:1]")
    leaves = pytree.tree_leaves(example)
    if kinds := [type(x).__name__ for x in leaves if type(x).__module__ == "numpy" and hasattr(x, "dtype")]:
        raise InputError(f"the example holds a {kinds[0]} of numpy; give a tensor, torch.from_numpy(x)")
    numbers = isinstance(example, tuple | list) and len(example) > 1 and all(type(x) is int for x in example)
    if numbers and not _takes(model, example):
        raise InputError(f"the example is {tuple(example)}, which are numbers; if this is a shape, give torch.zeros of "
                         "it, or better a batch of your data")  # fmt: skip


def _takes(model: nn.Module, inputs: Any) -> bool:
    """Whether forward takes so many arguments."""
    try:
        inspect.signature(model.forward).bind(*inputs)
    except (TypeError, ValueError):
        return False
    return True
