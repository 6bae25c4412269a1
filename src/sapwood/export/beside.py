"""Beside: the masks that a network's file may hold with its tensors."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sapwood.masking import masks as mask
from sapwood.training import checkpoint

MASK = "keep of "  # with the parameter's name: what a mask is called in the file, where no parameter can be


def put(masks: Mapping[str, Tensor], model: nn.Module, tensors: dict[str, Tensor], words: dict[str, Any]) -> None:
    """Add the model's masks to what is written."""
    mask.validate(masks, dict(model.named_parameters()))
    words["masks"] = {name: MASK + name for name in masks}
    tensors |= {MASK + name: keep for name, keep in masks.items()}


def taken(
    called: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]], tensors: dict[str, Tensor]
) -> dict[str, Tensor]:
    """The masks, taken out of what was read; ValueError if they are none of parameters of these shapes."""
    masks = {}
    for name, entry in called.items():
        if entry != MASK + name or entry not in tensors or name not in shapes:
            raise ValueError(f"there is no mask {entry!r} of a parameter {name!r}")
        masks[name] = tensors.pop(entry)
        if masks[name].dtype is not torch.bool or tuple(masks[name].shape) != shapes[name]:
            raise ValueError(f"{entry!r} is no mask of {name!r}")
    checkpoint.refuse_half_truths(masks)
    return masks
