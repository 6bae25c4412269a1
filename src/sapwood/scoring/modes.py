"""Modes: a model in evaluation mode for a while; compiled models as they were written for a while."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; every module's own mode afterwards."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


class _Eager:
    """How many blocks want compiled models to run uncompiled. They may end in any order."""

    blocks = 0
    before: Any = None


@contextmanager
def eagerly() -> Iterator[None]:
    """Inside, `torch.compile`d models call their modules one by one, so that hooks set after compiling are called.

    Nothing can have been compiled before torch's compiler has been imported, which takes a second.
    """
    if "torch._dynamo" not in sys.modules:
        yield
        return
    if not _Eager.blocks:
        _Eager.before = torch.compiler.set_stance("force_eager")
    _Eager.blocks += 1
    try:
        yield
    finally:
        _Eager.blocks -= 1
        if not _Eager.blocks:
            _Eager.before.__exit__(None, None, None)
