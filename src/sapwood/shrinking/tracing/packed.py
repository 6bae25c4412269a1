"""Packed: sequences of different lengths without their padding, which `torch.export` cannot follow.

While a graph is made they run as padded ones. Which steps count is a matter of numbers; which units hang together is
the same. What is proven afterwards is proven on the packed ones.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import _VF, Tensor, nn
from torch.nn.utils.rnn import PackedSequence


@contextmanager
def padded() -> Iterator[None]:
    """Every packed sequence has all of its steps in here."""
    with ExitStack() as stack:
        for name, replaced in (("_pack_padded_sequence", _pack), ("_pad_packed_sequence", _pad)):
            stack.enter_context(patch.object(_VF, name, replaced, create=True))
        for kind in (nn.RNN, nn.LSTM, nn.GRU):
            stack.enter_context(patch.object(kind, "forward", _over_all_steps(kind.forward)))
        yield


def _pack(x: Tensor, lengths: Tensor, batch_first: bool) -> tuple[Tensor, Tensor]:
    """All steps, one after another, and how many sequences there are at each."""
    x = x.transpose(0, 1) if batch_first else x
    return x.flatten(0, 1), torch.full(x.shape[:1], x.shape[1])


def _pad(data: Tensor, sizes: Tensor, batch_first: bool, value: float, length: int) -> tuple[Tensor, Tensor]:
    x = _in_steps(data, sizes)
    return x.transpose(0, 1) if batch_first else x, torch.full(x.shape[1:2], x.shape[0])


def _in_steps(data: Tensor, sizes: Tensor) -> Tensor:
    """[steps, sequences, ..]; no view, since views of the model's own code are looked at one by one."""
    count = data.shape[0] // sizes.shape[0]
    return data.unfold(0, count, count).movedim(-1, 1)


def _turned(layer: nn.RNNBase, x: Tensor) -> Tensor:
    """Steps first or sequences first, as the layer wants them, and back."""
    return x.transpose(0, 1) if layer.batch_first else x


def _over_all_steps(forward: Callable[..., Any]) -> Callable[..., Any]:
    def run(layer: Any, given: Any, hx: Any = None) -> Any:
        if not isinstance(given, PackedSequence):
            return forward(layer, given, hx)
        if hx is not None:
            hx = layer.permute_hidden(hx, given.sorted_indices)
        y, states = forward(layer, _turned(layer, _in_steps(given.data, given.batch_sizes)), hx)
        packed = PackedSequence(
            _turned(layer, y).flatten(0, 1), given.batch_sizes, given.sorted_indices, given.unsorted_indices
        )
        return packed, layer.permute_hidden(states, given.unsorted_indices)

    return run
