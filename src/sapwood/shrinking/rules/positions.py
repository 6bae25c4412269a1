"""Positions: the ids along one dimension of a weight, which may have been reshaped."""

from torch import Tensor

from sapwood.shrinking.rules.ids import Ties
from sapwood.shrinking.rules.strides import thin, varied
from sapwood.shrinking.rules.values import Weight, nobody


def along(ties: Ties, weight: Weight, dim: int, because: str) -> Tensor:
    """The ids of a weight's positions along one of its dimensions, [size].

    A weight reshaped so that ids change along several dimensions at once cannot be sliced: it is pinned.
    """
    found = nobody((weight.shape[dim],))
    for layer in weight.layers:
        changes = varied(layer)
        if len(changes) > 1:
            ties.pin(layer, because)
        elif changes == [dim]:
            found = thin(layer).flatten()
    return found
