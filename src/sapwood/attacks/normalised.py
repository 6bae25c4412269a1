"""Normalised: a network that takes pixels and normalises them itself, so that an attack's radius is in pixels."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sapwood.errors import InputError


class Normalised(nn.Module):
    """`model((x - mean) / std)`, with a number of each for every channel of images [B, channels, ...].

    The numbers are buffers: they move with the network, are saved with it, and are no weights.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if not mean or len(mean) != len(std) or not min(std) > 0:
            raise InputError(
                f"mean={tuple(mean)}, std={tuple(std)}: give a number of each for every channel, std above 0"
            )
        self.model = model
        like = next((p.detach() for p in model.parameters()), torch.zeros(()))
        self.register_buffer("mean", like.new_tensor(mean))
        self.register_buffer("std", like.new_tensor(std))

    def forward(self, x: Tensor) -> Tensor:
        """The model's outputs for images in pixels."""
        shape = (-1, *[1] * (x.dim() - 2))
        outputs: Tensor = self.model((x - self.mean.view(shape)) / self.std.view(shape))
        return outputs
