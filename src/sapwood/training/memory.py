"""Memory: what a method keeps in its run - tensors, numbers, strings, dicts of them - copied and put back."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sapwood import processes


def refill(target: dict[str, Any], source: Mapping[str, Any]) -> None:
    """Make `target` equal to `source` without replacing dicts: a method may hold on to one of them."""
    for key in [k for k in target if k not in source]:
        del target[key]
    for key, value in source.items():
        if isinstance(value, dict) and isinstance(target.get(key), dict):
            refill(target[key], value)
        else:
            target[key] = value


def moved(value: Any, device: torch.device) -> Any:
    """The value with copies of its tensors on another device."""
    if isinstance(value, Mapping):
        return {key: moved(v, device) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(moved(v, device) for v in value)
    return value.to(device, copy=True) if isinstance(value, Tensor) else value


def whole(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The tree with all tensors whole, whatever is sharded over processes."""
    return {key: _whole(value) for key, value in tree.items()}


def _whole(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _whole(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_whole(v) for v in value)
    return processes.whole(value) if processes.sharded(value) else value


def parted(weights: Mapping[str, Tensor], current: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Whole weights, sharded as those of the same names are now."""
    return {name: processes.like(value, current[name]) if name in current else value for name, value in weights.items()}


def in_parts(saved: Mapping[str, Any], model: nn.Module, optimizer: Optimizer) -> dict[str, Any]:
    """A run's saved state, whose weights, and what the optimiser has for each, are sharded as they are now."""
    steps = saved["optimizer"]
    every = dict(enumerate(p for group in optimizer.param_groups for p in group["params"]))
    state = {n: {key: _alike(value, every.get(n)) for key, value in kept.items()} for n, kept in steps["state"].items()}
    return {**saved, "model": parted(saved["model"], model.state_dict()), "optimizer": {**steps, "state": state}}


def _alike(value: Any, parameter: Tensor | None) -> Any:
    """What an optimiser has for a parameter: sharded alike if it has its shape."""
    same = parameter is not None and isinstance(value, Tensor) and value.shape == parameter.shape
    return processes.like(value, parameter) if same and parameter is not None else value


def cloned(value: Any) -> Any:
    """The value with copies of its tensors."""
    if isinstance(value, Mapping):
        return {key: cloned(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(cloned(v) for v in value)
    return value.detach().clone() if isinstance(value, Tensor) else value
