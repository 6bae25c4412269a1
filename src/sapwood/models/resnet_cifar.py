"""Residual networks for 32 x 32 images, and two of them trained on CIFAR-10."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sapwood.data.files import find
from sapwood.errors import InputError, unknown

FOLDER = "cifar10-resnets"
TRAINED = {  # depth -> file and its SHA-256; arrays named as in `state_dict`, without num_batches_tracked
    20: ("resnet20-12fca82f.npz", "7db2ed048755c815689e055b0e68e2d53db7f9f6e0f9b3bc9b6f837ab168774e"),
    56: ("resnet56-4bfd9763.npz", "abef877fda074a20ba288b4e7ec4fe11bd385b585c4d25e01c7fb580b0dae725"),
}


class ResNetCifar(nn.Module):
    """A first convolution, three stages of blocks, a mean over all pixels, a linear layer. Made by `resnet_cifar`."""

    def __init__(self, blocks: int, width: int, classes: int, dtype: torch.dtype | None) -> None:
        super().__init__()
        self.conv1 = _conv(3, width, 1, dtype)
        self.bn1 = nn.BatchNorm2d(width, dtype=dtype)
        self.layer1 = _stage(blocks, width, width, 1, dtype)
        self.layer2 = _stage(blocks, width, 2 * width, 2, dtype)
        self.layer3 = _stage(blocks, 2 * width, 4 * width, 2, dtype)
        self.linear = nn.Linear(4 * width, classes, dtype=dtype)
        nn.init.kaiming_normal_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, classes] of images [B, 3, side, side]."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.linear(x.mean((2, 3)))
        return logits


class Block(nn.Module):
    """Two convolutions, added to what came in."""

    def __init__(self, inputs: int, channels: int, stride: int, dtype: torch.dtype | None) -> None:
        super().__init__()
        self.conv1 = _conv(inputs, channels, stride, dtype)
        self.bn1 = nn.BatchNorm2d(channels, dtype=dtype)
        self.conv2 = _conv(channels, channels, 1, dtype)
        self.bn2 = nn.BatchNorm2d(channels, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        """relu(bn2(conv2(relu(bn1(conv1(x))))) + x), where x takes the new shape if there is one."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + _matched(x, y, self.conv1.stride[0]))


def _matched(x: Tensor, y: Tensor, stride: int) -> Tensor:
    """x where a block keeps its shape; else every second pixel, and as many channels as y has, the outer ones zeros.

    How many zeros follows from the tensors, so it is still right when channels have been removed.
    """
    if stride == 1:
        return x
    more = y.shape[1] - x.shape[1]
    return F.pad(x[:, :, ::stride, ::stride], (0, 0, 0, 0, more // 2, more - more // 2))


def resnet_cifar(depth: int, *, width: int = 16, classes: int = 10, dtype: torch.dtype | None = None) -> ResNetCifar:
    """ResNet-20, 32, 44, 56, 110, ...: depth = 6n + 2, three stages of n blocks with width, 2 width, 4 width channels.

    Images [B, 3, side, side] to logits [B, classes]; the first block of stages 2 and 3 halves the side. Shortcuts have
    no parameters (option A). Convolutions have no bias; all weights start in N(0, 2 / inputs), where a convolution's
    inputs count its 9 positions. With width 16 and 10 classes 269,722 parameters at depth 20, 853,018 at depth 56.

    What can be removed (`sites`): the inner channels of every block, and the first stage's stream, whose channels are
    also the middle ones of the later streams. The streams' outer channels meet the zeros of a shortcut, and stay.

    *Paper:* He, Zhang, Ren, Sun 2015, "Deep Residual Learning for Image Recognition", arXiv 1512.03385, section 4.2.
    *Differs:* zero channels are put in equal number before and behind, as in the networks of `load_trained`; the paper
    does not say where.
    """
    whole = all(type(number) is int and number >= 1 for number in (depth, width, classes))
    if not whole or depth < 8 or depth % 6 != 2:
        raise InputError(
            f"resnet_cifar has depth={depth}, width={width}, classes={classes}; depth is 6n + 2 with n of 1 or more "
            "(8, 14, 20, 32, 44, 56, 110), width and classes are whole numbers of 1 or more"
        )
    return ResNetCifar((depth - 2) // 6, width, classes, dtype)


def load_trained(depth: int, *, dtype: torch.dtype | None = None) -> ResNetCifar:
    """ResNet-20 or ResNet-56 as trained on CIFAR-10 by Y. Idelbayev: 91.73 % and 93.39 % of the test images right.

    They read inputs standardised with `data.cifar10.MEAN` and `STD`. All 50,000 training images were trained on: on a
    validation split of them accuracy says nothing. Files are looked for in $SAPWOOD_DATA/cifar10-resnets and the cache,
    and checksummed.

    *Origin:* github.com/akamaster/pytorch_resnet_cifar10, BSD 2-Clause, copyright 2018 Yerlan Idelbayev.
    """
    network = resnet_cifar(depth, dtype=dtype)
    network.load_state_dict(network.state_dict() | trained_weights(depth))  # theirs have no num_batches_tracked
    return network


def trained_weights(depth: int) -> dict[str, Tensor]:
    """The parameters and running statistics of `load_trained`, float32, by name."""
    if depth not in TRAINED:
        raise unknown("trained CIFAR ResNet of depth", str(depth), [str(known) for known in TRAINED])
    name, checksum = TRAINED[depth]
    path = find(FOLDER, {name: checksum}, urls=())[name]
    with np.load(path, allow_pickle=False) as arrays:
        return {entry: torch.from_numpy(arrays[entry]) for entry in arrays.files}


def _stage(blocks: int, inputs: int, channels: int, stride: int, dtype: torch.dtype | None) -> nn.Sequential:
    """Blocks, of which the first changes the shape."""
    first = Block(inputs, channels, stride, dtype)
    return nn.Sequential(first, *(Block(channels, channels, 1, dtype) for _ in range(blocks - 1)))


def _conv(inputs: int, channels: int, stride: int, dtype: torch.dtype | None) -> nn.Conv2d:
    layer = nn.Conv2d(inputs, channels, 3, stride, padding=1, bias=False, dtype=dtype)
    nn.init.kaiming_normal_(layer.weight)
    return layer
