"""Centring: sums about the means instead of about 0, so that least squares with them leaves the bias free.

gram - s sᵀ/n,   cross - s tᵀ/n,   b <- b + (t - w s)/n        s = sum x, t = sum (wanted - b) over n samples
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from sapwood.scoring.evidence import Statistic
from sapwood.scoring.statistics import count, cross, gram

input_sum = Statistic("input_sum", lambda s: s.x_NI.double().sum(0))
wanted_sum = Statistic("wanted_sum", lambda s: s.wanted_NO.double().sum(0), wants=True)
ABOUT_MEANS = (gram, cross, count, input_sum, wanted_sum)  # what `centred` and `intercept` need


def centred(sums: Mapping[str, Tensor], bias_O: Tensor) -> tuple[Tensor, Tensor]:
    """gram_II and cross_IO about the means: solved with them, weights are what they are beside the best bias."""
    n, s_I, t_O = _means(sums, bias_O)
    gram_II = sums[gram] - torch.outer(s_I, s_I) / n
    gram_II.diagonal().clamp_(min=0)  # of an input that is always the same, rounding may leave less
    return gram_II, sums[cross] - torch.outer(s_I, t_O) / n


def intercept(w_OI: Tensor, sums: Mapping[str, Tensor], bias_O: Tensor) -> Tensor:
    """The best bias of a layer that has these weights by now, [O], from the bias it had when it was observed."""
    n, s_I, t_O = _means(sums, bias_O)
    return (bias_O.double() + (t_O - w_OI.detach().double() @ s_I) / n).to(bias_O.dtype)


def _means(sums: Mapping[str, Tensor], bias_O: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    n = sums[count].double()
    return n, sums[input_sum], sums[wanted_sum] - n * bias_O.detach().double()
