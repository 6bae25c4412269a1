"""Memory: what a method keeps in its run - tensors, numbers, strings, dicts of them - copied and put back."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


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


def cloned(value: Any) -> Any:
    """The value with copies of its tensors."""
    if isinstance(value, Mapping):
        return {key: cloned(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(cloned(v) for v in value)
    return value.detach().clone() if isinstance(value, Tensor) else value
