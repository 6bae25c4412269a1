"""Squares: small images in four classes, in float64, and a network for them."""

import torch
from torch import nn

from sapwood.training.task import Batch

D = torch.float64


def images(count, seed):
    """Four classes by where a square is bright and in which of two channels."""
    luck = torch.Generator().manual_seed(seed)
    y = torch.arange(count) % 4
    x = torch.randn(count, 3, 8, 8, generator=luck, dtype=D) * 0.5
    for n in range(count):
        x[n, y[n] % 2, y[n] // 2 * 4 : y[n] // 2 * 4 + 4] += 1
    return Batch(x, y)


def plain():
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 12, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.MaxPool2d(4), nn.Flatten(), nn.Linear(48, 4)).double()
