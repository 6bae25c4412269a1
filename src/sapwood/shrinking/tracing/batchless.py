"""Batchless: whether an example on which a model does not run is one sample that lacks the dimension of samples."""

import warnings
from typing import Any

from torch import Tensor, nn
from torch.utils import _pytree as pytree

from sapwood.measure.example import call
from sapwood.scoring.untouched import untouched
from sapwood.shrinking.tracing.exporting import quietly


def without_batch(model: nn.Module, inputs: tuple[Any, ...]) -> str:
    """What to say of inputs with which the model runs once each tensor has one more dimension in front, or ""."""
    if not any(isinstance(x, Tensor) for x in pytree.tree_leaves(inputs)):
        return ""
    try:
        with untouched(model), warnings.catch_warnings(), quietly():
            warnings.simplefilter("ignore")
            call(model, pytree.tree_map_only(Tensor, lambda x: x.clone()[None], inputs))
    except Exception:  # the model's own code; then something else is wrong
        return ""
    return "; the example lacks the dimension of samples: for one tensor x give x[None], or images[:1] of a batch"
