"""Scans: scores for one ranking of all layers, from what each layer was seen to lose when it alone lost units."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sapwood.currency import Scores

TRIFLE = 1e-9  # by which what is lost rises everywhere, so that the order inside of a layer stays


def by_loss(
    scores: Mapping[str, Tensor], gone: Mapping[str, Sequence[float]], lost: Mapping[str, Sequence[float]]
) -> Scores:
    """Scores, {layer: float64 [units]}, by which one ranking first removes what loses least; layers keep their order.

    `lost[layer]` is what was lost when the layer alone lost the shares `gone[layer]` of its units, rising, each in
    (0, 1). A unit is worth what is lost when it goes with all that are below it: linear between the shares, never
    falling, and the last one beyond them.
    """
    return {name: _read_off(below(s), gone[name], lost[name]) for name, s in scores.items()}


def below(scores: Tensor) -> Tensor:
    """The share of the units that is gone when this one goes, float64 [units], up to 1; of equals the last go first."""
    order = scores.cpu().flip(0).argsort(stable=True)
    place = torch.empty_like(order)
    place[order] = torch.arange(1, len(scores) + 1)
    return place.flip(0).double() / len(scores)


def _read_off(share: Tensor, gone: Sequence[float], lost: Sequence[float]) -> Tensor:
    """What is lost when such a share is gone."""
    at = torch.tensor([0.0, *gone, 1.0], dtype=torch.float64)
    seen = torch.tensor([0.0, *lost, lost[-1]], dtype=torch.float64).cummax(0).values
    right = torch.searchsorted(at, share.contiguous()).clamp(1, len(at) - 1)
    part = (share - at[right - 1]) / (at[right] - at[right - 1])
    return seen[right - 1] + part * (seen[right] - seen[right - 1]) + TRIFLE * share
