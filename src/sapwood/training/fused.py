"""Fused steps of PyTorch's optimisers: one kernel that reads from tensors how far to go, and whether at all.

So a step can be recorded once and made at another learning rate, or left out, without Python. Options of the optimiser
are as its owner has set them whenever anybody looks, and so is what a checkpoint holds of it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer

FUSED = (SGD, Adam, AdamW)
OPTIONS = ("lr", "fused", "foreach", "capturable")  # of theirs, that are others inside of `fused`


class Counts:
    """How many steps Adam has made, which it keeps on the CPU and a graph needs on the device."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self._there: dict[Tensor, Tensor] = {}
        self._shown: dict[Tensor, Tensor] = {}

    @contextmanager
    def here(self) -> Iterator[None]:
        """Inside, and until they are shown, the optimiser has them on the device."""
        for parameter, state in self._states():
            if state["step"] is self._shown.get(parameter):
                state["step"] = self._there[parameter]
            elif state["step"] is not self._there.get(parameter):
                state["step"] = state["step"].to(parameter.device, torch.float32, copy=True)
        yield
        self._there = {parameter: state["step"] for parameter, state in self._states()}

    def show(self) -> None:
        """On the CPU, where checkpoints and other steps look for them."""
        held = [(p, state) for p, state in self._states() if state["step"] is self._there.get(p)]
        if held:
            numbers = torch.stack([state["step"] for _, state in held]).cpu()
            for (parameter, state), number in zip(held, numbers, strict=True):
                state["step"] = self._shown[parameter] = number.clone()

    def _states(self) -> list[tuple[Tensor, dict[str, Any]]]:
        groups = [g for g in self.optimizer.param_groups if not (g["fused"] or g.get("capturable"))]
        every = ((p, self.optimizer.state.get(p, {})) for group in groups for p in group["params"])
        return [(p, state) for p, state in every if "step" in state]


@contextmanager
def fused(optimizer: Any, rates: Sequence[Tensor], bad: Tensor) -> Iterator[None]:
    """Inside, the optimiser steps by one kernel, at these rates, and not at all where `bad` is not 0."""
    groups = optimizer.param_groups
    before = [{name: group[name] for name in OPTIONS if name in group} for group in groups]
    for group, rate in zip(groups, rates, strict=True):
        group.update(
            {"lr": rate, "fused": True, "foreach": False} | ({"capturable": True} if "capturable" in group else {})
        )
    optimizer.found_inf = bad
    optimizer._warned_capturable_if_run_uncaptured = True  # the first steps are not recorded, and need not be
    try:
        yield
    finally:
        del optimizer.found_inf
        for group, options in zip(groups, before, strict=True):
            group.update(options)
