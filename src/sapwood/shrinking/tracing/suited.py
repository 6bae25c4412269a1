"""Suited: models and examples of kinds that cannot be analysed, each refused in words of its own."""

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
    empty = [tuple(x.shape) for x in pytree.tree_leaves(example) if isinstance(x, Tensor) and x.numel() == 0]
    if empty:
        raise InputError(f"the example holds a tensor of shape {empty[0]}; give at least one sample")
