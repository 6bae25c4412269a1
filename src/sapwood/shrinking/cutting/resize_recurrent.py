"""Resize recurrent layers: their sizes, and the list of weights in which torch runs them."""

from collections.abc import Callable
from typing import Any

from torch import nn

from sapwood.errors import InputError

GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}  # by torch's names of the modes


def _layers(module: Any) -> None:
    """Parameters keep their identity when they are cut, so torch's list of them holds the smaller ones already."""
    module.hidden_size = len(module.weight_hh_l0) // GATES[module.mode]
    module.input_size = module.weight_ih_l0.shape[1]
    if module.proj_size:
        module.proj_size = len(module.weight_hr_l0)
        _refuse_wide(module)
    module.flatten_parameters()  # on a GPU they are to lie behind each other


def _refuse_wide(module: Any) -> None:
    """torch tells a projection by its being narrower than what it projects."""
    if module.proj_size >= module.hidden_size:
        raise InputError(
            f"an LSTM of {module.hidden_size} units would send {module.proj_size} projections, and torch wants fewer "
            "projections than units; keep more units or fewer projections"
        )


def _cell(module: Any) -> None:
    module.input_size, module.hidden_size = module.weight_ih.shape[1], module.weight_hh.shape[1]


RESIZE_RECURRENT: dict[type | tuple[type, ...], Callable[[Any], None]] = {
    nn.RNNBase: _layers,
    (nn.LSTMCell, nn.GRUCell, nn.RNNCell): _cell,
}
