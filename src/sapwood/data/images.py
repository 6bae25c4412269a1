"""Images: a labelled image set in memory, and a reader for sets published as four idx files."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from sapwood.data import idx
from sapwood.errors import InputError


class Images(NamedTuple):
    """Images and their classes, in the published order. Shared between tasks: not to be written to."""

    train_images: Tensor  # uint8 [N, H, W], of colours [N, 3, H, W]
    train_labels: Tensor  # int64 [N]
    test_images: Tensor
    test_labels: Tensor


def from_idx(paths: Mapping[str, Path]) -> Images:
    """The images in the four files that MNIST and its drop-in replacements consist of, under their usual names."""
    train = _pair(paths["train-images-idx3-ubyte.gz"], paths["train-labels-idx1-ubyte.gz"])
    test = _pair(paths["t10k-images-idx3-ubyte.gz"], paths["t10k-labels-idx1-ubyte.gz"])
    return Images(*train, *test)


def _pair(images_at: Path, labels_at: Path) -> tuple[Tensor, Tensor]:
    images, labels = idx.read(images_at), idx.read(labels_at)
    if images.ndim != 3 or labels.shape != images.shape[:1]:
        raise InputError(
            f"{images_at} has shape {tuple(images.shape)} and {labels_at} has {tuple(labels.shape)}; "
            f"they must be [N, H, W] and [N]"
        )
    return images, labels.long()
