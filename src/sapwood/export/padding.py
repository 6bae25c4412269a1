"""Padding: sums over the tokens that are text, of layers that read all of them."""

from collections.abc import Callable

import torch
from torch import Tensor

from sapwood.errors import InputError
from sapwood.reconstruction.centring import input_sum
from sapwood.scoring import batches as batching
from sapwood.scoring.evidence import Sight, Statistic
from sapwood.scoring.statistics import count, input_square


def without_padding(statistic: Statistic, rows: Callable[[], Tensor | None]) -> Statistic:
    """The same sum over the rows that count; in float32 at least, and in float64 where float32 is not meant exactly."""

    def of(sight: Sight) -> Tensor:
        x_NI, counted = sight.x_NI, rows()
        if counted is not None:
            if len(counted) != len(x_NI):
                raise InputError(
                    f"{sight.layer} reads {len(x_NI)} rows where attention_mask has {len(counted)} tokens, so padding "
                    "cannot be left out; give batches without padding"
                )
            x_NI = x_NI[counted.to(x_NI.device)]
        if statistic == count:
            return torch.tensor(len(x_NI))
        if statistic == input_square:
            return x_NI.double().square().sum(0)
        if statistic == input_sum:
            return x_NI.sum(0, dtype=torch.float64)
        exact = torch.get_float32_matmul_precision() == "highest"
        wide = x_NI.to(torch.promote_types(x_NI.dtype, torch.float32)) if exact else x_NI.double()
        gram_II = wide.T @ wide
        return gram_II.add_(gram_II.T.clone()).div_(2).double()  # in place: it may be the largest tensor of a pass

    return Statistic(statistic, of)


def tokens_in(arguments: batching.Arguments) -> Tensor | None:
    """Which of a batch's tokens are no padding, flat; None where all count."""
    inside = arguments.keywords.get("attention_mask")
    if not isinstance(inside, Tensor) or inside.dim() != 2 or bool(inside.all()):
        return None
    return inside.flatten() != 0
