"""Splits: how a set of images becomes the three parts of a task's data."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sapwood.data.images import Images
from sapwood.errors import InputError
from sapwood.training.task import Batch, Data


def split(
    images: Images,
    *,
    valid: int,
    white: int = 255,
    flat: bool = True,
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
) -> Data:
    """The first `valid` training images validate, the others train; inputs pixel / white in [0, 1].

    Inputs are flat, [B, pixels], or with flat=False images, [B, channels, height, width], grey ones of one channel.
    With `mean` and `std`, one number for each channel, they are (pixel / white - mean) / std instead.
    Nothing is shuffled or stratified before the cut, so the split needs no seed.
    """
    trainable = len(images.train_labels)
    if not 0 < valid < trainable:
        raise InputError(f"valid is {valid}; of {trainable} training images, 1 to {trainable - 1} can validate")
    scaled = [_scaled(part, white, mean, std) for part in (images.train_images, images.test_images)]
    (inputs, test_inputs), labels = (part.flatten(1) if flat else part for part in scaled), images.train_labels
    return Data(
        train=Batch(inputs[valid:], labels[valid:]),
        valid=Batch(inputs[:valid], labels[:valid]),
        test=Batch(test_inputs, images.test_labels),
    )


def _scaled(images: Tensor, white: int, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Inputs [N, channels, height, width], made with one copy of the images: sixty thousand of CIFAR-10 are 740 MB."""
    inputs = (images if images.dim() == 4 else images.unsqueeze(1)) / white
    if mean or std:
        if not len(mean) == len(std) == inputs.shape[1] or min(std) <= 0:
            raise InputError(
                f"mean is {tuple(mean)} and std {tuple(std)}; of images with {inputs.shape[1]} channels, give so many "
                "numbers of each, std above 0"
            )
        inputs.sub_(torch.tensor(mean)[:, None, None]).div_(torch.tensor(std)[:, None, None])
    return inputs


def first(images: Images, *, train: int, test: int) -> Images:
    """Only the first `train` training and `test` test images."""
    return Images(
        images.train_images[:train], images.train_labels[:train], images.test_images[:test], images.test_labels[:test]
    )
