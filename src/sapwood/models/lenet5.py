"""LeNet-5 as pruning papers count it: two convolutions of 5 x 5 with pools, one hidden layer, an output layer."""

from collections import OrderedDict
from typing import TypeVar

import torch
from torch import nn

from sapwood.errors import InputError

AnyLayer = TypeVar("AnyLayer", nn.Conv2d, nn.Linear)


def lenet5(
    first: int = 20, second: int = 50, hidden: int = 500, *, classes: int = 10, dtype: torch.dtype | None = None
) -> nn.Sequential:
    """Images [B, 1, 28, 28] to logits [B, classes]: 431,080 parameters and 2,293,000 multiply-adds with the defaults.

    Modules conv1, relu1, pool1, conv2, relu2, pool2, flatten, hidden1, hidden_relu1, output. Convolutions have no
    border; pools halve the side. Weights start in U(-a, a) with a = sqrt(6 / (inputs + outputs)), biases at 0.

    *Paper:* LeCun, Bottou, Bengio, Haffner 1998, "Gradient-based learning applied to document recognition", in the form
    of Caffe's example, 20-50-500-10, that pruning papers take since Han et al. 2015, arXiv 1506.02626.
    *Differs:* ReLU behind the convolutions too, where Caffe's has it behind the hidden layer only; initial values are
    Glorot's, Caffe's count inputs alone.
    """
    numbers = (first, second, hidden, classes)
    if not all(type(number) is int and number >= 1 for number in numbers):
        raise InputError(f"lenet5 has first, second, hidden, classes = {numbers}; give whole numbers of 1 or more")
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, (inputs, outputs) in enumerate(((1, first), (first, second)), start=1):
        layers[f"conv{number}"] = _started(nn.Conv2d(inputs, outputs, 5, dtype=dtype))
        layers[f"relu{number}"] = nn.ReLU()
        layers[f"pool{number}"] = nn.MaxPool2d(2)
    layers["flatten"] = nn.Flatten()
    layers["hidden1"] = _started(nn.Linear(16 * second, hidden, dtype=dtype))
    layers["hidden_relu1"] = nn.ReLU()
    layers["output"] = _started(nn.Linear(hidden, classes, dtype=dtype))
    return nn.Sequential(layers)


def _started(layer: AnyLayer) -> AnyLayer:
    nn.init.xavier_uniform_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
