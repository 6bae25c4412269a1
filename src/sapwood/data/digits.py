"""Digits: 1,797 grey 8 x 8 handwritten digits (pixels 0..16) that come with scikit-learn; no files needed.

It has no official split. Here every fifth image of each class, in the published order, is for testing: 1,442 train, 355
test. The same writers are in both parts, so test accuracy says nothing about new writers.

*Paper:* Alpaydin, Kaynak 1998, "Cascading classifiers", Kybernetika 34(4); the set is the test part of
"Optical Recognition of Handwritten Digits", doi 10.24432/C50P49.
*Licence:* CC BY 4.0 (the data), BSD 3-Clause (scikit-learn's copy).
"""

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sapwood.data.files import Progress
from sapwood.data.images import Images
from sapwood.extras import MissingExtra, installs, optional


def fetch(progress: Progress | None = None) -> None:
    """See that scikit-learn is there: nothing is ever downloaded."""
    load()


@lru_cache(maxsize=1)
def load() -> Images:
    """The whole set, split as this file says."""
    images, labels = _published()
    test = _every_fifth(labels)
    return Images(images[~test], labels[~test], images[test], labels[test])


def _published() -> tuple[Tensor, Tensor]:
    """Images and labels from scikit-learn's file, each line of which is an image and its label.

    Importing scikit-learn takes as long as two thirds of importing PyTorch, in every process that trains on digits, so
    that is left for a version that keeps the file elsewhere.
    """
    path = _folder() / "datasets" / "data" / "digits.csv.gz"
    if path.is_file():
        lines = torch.from_numpy(np.loadtxt(path, delimiter=",", dtype="int64"))
        return lines[:, :-1].to(torch.uint8).view(-1, 8, 8), lines[:, -1].contiguous()
    with optional("data set 'digits'"):
        from sklearn.datasets import load_digits
    digits = load_digits()
    return torch.from_numpy(digits.images.astype("uint8")), torch.from_numpy(digits.target.astype("int64"))


def _folder() -> Path:
    """Where scikit-learn is installed."""
    spec = find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise MissingExtra(f"data set 'digits', which comes with scikit-learn, needs it; run: {installs('sklearn')}")
    return Path(spec.origin).parent


def _every_fifth(labels: Tensor) -> Tensor:
    """True at the 5th, 10th, ... sample of each class."""
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    for label in range(10):
        chosen[(labels == label).nonzero().flatten()[4::5]] = True
    return chosen
