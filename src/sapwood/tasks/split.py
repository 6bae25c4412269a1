"""Splits: how a set of images becomes the three parts of a task's data."""

from sapwood.data.images import Images
from sapwood.errors import InputError
from sapwood.task import Batch, Data


def split(images: Images, *, valid: int, white: int = 255, flat: bool = True) -> Data:
    """The first `valid` training images validate, the others train; inputs pixel / white in [0, 1].

    Inputs are flat, [B, pixels], or with flat=False images of one channel, [B, 1, height, width].
    Nothing is shuffled or stratified before the cut, so the split needs no seed.
    """
    trainable = len(images.train_labels)
    if not 0 < valid < trainable:
        raise InputError(f"valid is {valid}; of {trainable} training images, 1 to {trainable - 1} can validate")
    shaped = [part.flatten(1) if flat else part.unsqueeze(1) for part in (images.train_images, images.test_images)]
    (inputs, test_inputs), labels = (part / white for part in shaped), images.train_labels
    return Data(
        train=Batch(inputs[valid:], labels[valid:]),
        valid=Batch(inputs[:valid], labels[:valid]),
        test=Batch(test_inputs, images.test_labels),
    )


def first(images: Images, *, train: int, test: int) -> Images:
    """Only the first `train` training and `test` test images."""
    return Images(
        images.train_images[:train], images.train_labels[:train], images.test_images[:test], images.test_labels[:test]
    )
