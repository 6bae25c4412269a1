"""Plain convolutional network: 3 x 3 convolutions with ReLU, max-pooling between them, one linear layer at the end."""

from collections import OrderedDict
from itertools import pairwise
from typing import TypeVar

import torch
from torch import nn

from sapwood.errors import InputError

AnyLayer = TypeVar("AnyLayer", nn.Conv2d, nn.Linear)


def conv(
    *channels: int, side: int, classes: int, norms: bool = False, dtype: torch.dtype | None = None
) -> nn.Sequential:
    """channels[0] -> ... -> channels[-1] on images [B, channels[0], side, side], then logits [B, classes].

    Modules conv1, relu1, pool1, conv2, ..., relu3, flatten, output. A convolution is 3 x 3 with a border of one zero,
    so it keeps the side; a pool halves it, rounded down; the last convolution has no pool. No normalisation, so that a
    channel's outputs are its own; with `norms`, a batch norm after each convolution, bn1, ..., and no biases there.
    Weights start in U(-a, a) with a = sqrt(6 / (inputs + outputs)), where a convolution counts its kernel's 9 positions
    in both, biases at 0: the default of Keras' Conv2D and Dense.

    *Paper:* none; initial values as in Glorot, Bengio 2010, eq. 16.
    """
    numbers = (*channels, side, classes)
    if len(channels) < 2 or not all(isinstance(number, int) and number >= 1 for number in numbers):
        raise InputError(
            f"conv channels are {channels} with side={side} and classes={classes}; give whole numbers of 1 or more, "
            "at least two channels, those of the images first"
        )
    left = side // 2 ** (len(channels) - 2)
    if left == 0:
        raise InputError(f"side is {side}; {len(channels) - 2} pools leave nothing of it; give fewer channels")
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, (inputs, outputs) in enumerate(pairwise(channels), start=1):
        layers[f"conv{number}"] = _started(nn.Conv2d(inputs, outputs, 3, padding=1, bias=not norms, dtype=dtype))
        if norms:
            layers[f"bn{number}"] = nn.BatchNorm2d(outputs, dtype=dtype)
        layers[f"relu{number}"] = nn.ReLU()
        if number < len(channels) - 1:
            layers[f"pool{number}"] = nn.MaxPool2d(2)
    layers["flatten"] = nn.Flatten()
    layers["output"] = _started(nn.Linear(channels[-1] * left**2, classes, dtype=dtype))
    return nn.Sequential(layers)


def _started(layer: AnyLayer) -> AnyLayer:
    nn.init.xavier_uniform_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
