"""Accuracy: how often the right class is among the k best scores; and two columns that only look like accuracy."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sapwood.batches import forward
from sapwood.errors import InputError
from sapwood.measure.untouched import untouched

if TYPE_CHECKING:
    from sapwood.samples import Samples


def top_k_correct(outputs: Tensor, targets: Tensor, k: int) -> Tensor:
    """The number of samples whose label is among the k best scores, int64.

    Sample b is right when #{c : s_bc > s_bt} + #{c < t : s_bc = s_bt} < k, where t is its label: among equal scores
    the lowest class ranks first. Scores [B, C], labels [B]. With k >= C every sample is right.
    """
    _refuse_bad_k(k)
    return (_places(outputs, targets) < k).sum()


def accuracy(
    model: nn.Module, split: "Samples", k: Sequence[int] = (1, 5), *, batch_size: int = 1024, class0: bool = False
) -> dict[str, float]:
    """The share of a split's samples whose label is among the k best scores, as {"top1": ..., "top5": ...}.

    "top1" is the accuracy. Measured in evaluation mode in one pass; `class0` adds the columns of `class0_top1`
    and `class0_top5` from the same pass. Modes, gradients and random numbers are left as they were.

    >>> net, x = nn.Identity(), torch.tensor([[3.0, 1.0, 0.0], [0.0, 1.0, 2.0]])
    >>> measure.accuracy(net, Batch(x, torch.tensor([0, 1])), k=(1, 2))
    {'top1': 0.5, 'top2': 1.0}
    """
    for each in k:
        _refuse_bad_k(each)
    if batch_size < 1 or len(split) == 0:
        raise InputError(f"accuracy of {len(split)} samples in batches of {batch_size}; give at least 1 of each")
    right: Counter[str] = Counter()
    with untouched(model):
        for start in range(0, len(split), batch_size):
            batch = split.take(slice(start, start + batch_size))
            outputs = forward(model, batch)
            right.update(_count("top", _places(outputs, batch.targets), k))
            if class0:
                right.update(_count("class0_top", _class0_places(outputs), (1, 5)))
    return {name: count / len(split) for name, count in right.items()}


def class0_top1(outputs: Tensor) -> float:
    """The share of samples predicted as class 0, whatever their label: about 1/C for any reasonable classifier.

    Only for comparison with printed columns. The 2024 paper's "Top 1 %" came from a metric for one-hot labels that
    was given integer labels; its arg-max over one entry made every "true class" 0. It says nothing about quality.
    """
    return float((_class0_places(outputs) < 1).double().mean())


def class0_top5(outputs: Tensor) -> float:
    """The share of samples whose five best scores include class 0, whatever their label.

    Only for comparison with the 2024 paper's "Top 5 %" column; see `class0_top1` for how it came about.
    """
    return float((_class0_places(outputs) < 5).double().mean())


def _places(outputs: Tensor, targets: Tensor) -> Tensor:
    """The place of each sample's label in the ranking of its scores, 0 the best."""
    _refuse_bad_scores(outputs)
    _refuse_bad_labels(outputs, targets)
    labels = targets.long()[:, None]
    own = outputs.gather(1, labels)
    lower_class = torch.arange(outputs.shape[1], device=outputs.device) < labels
    return ((outputs > own) | ((outputs == own) & lower_class)).sum(1)


def _class0_places(outputs: Tensor) -> Tensor:
    return _places(outputs, torch.zeros(len(outputs), dtype=torch.long, device=outputs.device))


def _count(column: str, places: Tensor, k: Sequence[int]) -> dict[str, int]:
    return {f"{column}{each}": int((places < each).sum()) for each in k}


def _refuse_bad_k(k: int) -> None:
    if k < 1:
        raise InputError(f"top-k with k = {k}; k counts the best scores looked at, give at least 1")


def _refuse_bad_scores(outputs: Tensor) -> None:
    if outputs.ndim != 2 or outputs.numel() == 0:
        raise InputError(f"scores have shape {tuple(outputs.shape)}; they must be [samples, classes], neither 0")
    if bad := int(outputs.isnan().any(1).sum()):
        raise InputError(f"the scores of {bad} of {len(outputs)} samples hold NaN; such a model has no accuracy")


def _refuse_bad_labels(outputs: Tensor, targets: Tensor) -> None:
    samples, classes = outputs.shape
    if targets.shape != (samples,) or targets.is_floating_point():
        raise InputError(
            f"labels have shape {tuple(targets.shape)} and {targets.dtype}; "
            f"give one integer class per sample, shape ({samples},)"
        )
    low, high = int(targets.min()), int(targets.max())
    if low < 0 or high >= classes:
        raise InputError(
            f"labels run from {low} to {high}; with {classes} scores per sample they must lie in 0..{classes - 1}"
        )
