"""Multilayer perceptron: fully connected layers with ReLU between them, logits at the end."""

from collections import OrderedDict
from itertools import pairwise

import torch
from torch import nn

from sapwood.errors import InputError


def mlp(*widths: int, bias: bool = True, dtype: torch.dtype | None = None) -> nn.Sequential:
    """The network widths[0] -> ... -> widths[-1] on flat inputs, modules hidden1, relu1, hidden2, ..., output.

    Weights start in U(-a, a) with a = sqrt(6 / (inputs + outputs)), biases at 0: the default of Keras' Dense.

    *Paper:* Glorot, Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks", eq. 16.
    *Differs:* nothing known.
    """
    if len(widths) < 2 or not all(isinstance(width, int) and width >= 1 for width in widths):
        raise InputError(f"mlp widths are {widths}; give at least two whole numbers of 1 or more, inputs first")
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, (inputs, outputs) in enumerate(pairwise(widths[:-1]), start=1):
        layers[f"hidden{number}"] = _dense(inputs, outputs, bias, dtype)
        layers[f"relu{number}"] = nn.ReLU()
    layers["output"] = _dense(widths[-2], widths[-1], bias, dtype)
    return nn.Sequential(layers)


def _dense(inputs: int, outputs: int, bias: bool, dtype: torch.dtype | None) -> nn.Linear:
    layer = nn.Linear(inputs, outputs, bias=bias, dtype=dtype)
    nn.init.xavier_uniform_(layer.weight)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer
