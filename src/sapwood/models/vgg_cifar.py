"""VGG networks for 32 x 32 images: 3 x 3 convolutions with batch norm, max-pooling after every stage."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import nn

from sapwood.errors import InputError

VGG16 = ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3)  # channels, stage by stage


def vgg_cifar(
    stages: Sequence[Sequence[int]] = VGG16,
    *,
    hidden: int = 512,
    side: int = 32,
    classes: int = 10,
    dtype: torch.dtype | None = None,
) -> nn.Sequential:
    """VGG-16 with batch norm: images [B, 3, side, side] to logits [B, classes].

    Modules conv1, bn1, relu1, conv2, ..., pool1, ..., flatten, hidden1, hidden_bn1, hidden_relu1, output. A convolution
    keeps the side; a pool halves it, rounded down. All have a bias: batch norm makes most of them superfluous, but the
    constants of silent units can be folded into them. Weights start in N(0, 2 / inputs), where a convolution's inputs
    count its 9 positions, biases at 0. With the defaults 15.0 million parameters, 313.5 million multiply-adds an image.

    *Paper:* Li, Kadav, Durdanovic, Samet, Graf 2017, "Pruning Filters for Efficient ConvNets", arXiv 1608.08710,
    section 4.1: VGG-16 (Simonyan, Zisserman 2015, arXiv 1409.1556) with one hidden linear layer of 512, batch norm
    after all layers but the last, no dropout.
    *Differs:* initial values and biases are not in the paper.
    """
    left = _left(stages, hidden, side, classes)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    inputs, number = 3, 0
    for stage, widths in enumerate(stages, start=1):
        for channels in widths:
            number += 1
            layers[f"conv{number}"] = _started(nn.Conv2d(inputs, channels, 3, padding=1, dtype=dtype))
            layers[f"bn{number}"] = nn.BatchNorm2d(channels, dtype=dtype)
            layers[f"relu{number}"] = nn.ReLU()
            inputs = channels
        layers[f"pool{stage}"] = nn.MaxPool2d(2)
    layers["flatten"] = nn.Flatten()
    layers["hidden1"] = _started(nn.Linear(inputs * left**2, hidden, dtype=dtype))
    layers["hidden_bn1"] = nn.BatchNorm1d(hidden, dtype=dtype)
    layers["hidden_relu1"] = nn.ReLU()
    layers["output"] = _started(nn.Linear(hidden, classes, dtype=dtype))
    return nn.Sequential(layers)


def _left(stages: Sequence[Sequence[int]], hidden: int, side: int, classes: int) -> int:
    """The side after all pools; bad sizes are refused."""
    numbers = (*(channels for widths in stages for channels in widths), hidden, side, classes)
    if not stages or not all(stages) or not all(type(number) is int and number >= 1 for number in numbers):
        raise InputError(
            f"vgg_cifar has stages={stages}, hidden={hidden}, side={side}, classes={classes}; give whole numbers of 1 "
            "or more, at least one stage, at least one convolution in each"
        )
    left: int = side // 2 ** len(stages)
    if left == 0:
        raise InputError(f"side is {side}; {len(stages)} pools leave nothing of it; give fewer stages")
    return left


def _started(layer: nn.Conv2d | nn.Linear) -> nn.Conv2d | nn.Linear:
    nn.init.kaiming_normal_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
