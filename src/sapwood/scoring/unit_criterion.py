"""Unit criterion: what one member of a site says about the site's units; a member is a layer, a norm, or its outputs.

Shape suffixes: U units, R the other numbers of a weight, N samples, P places, none or more dimensions of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor

from sapwood.errors import refuse_unless

Of = Literal["makes", "norms", "group", "outputs"]
Group = Literal["mean", "sum", "max"]
Norm = Literal["none", "mean", "max", "l2"]


@dataclass(frozen=True)
class UnitCriterion:
    """Higher stays.

    `score` is pure: it is given what one member shows and returns one number for each unit, [U]. `of` says what that
    is: the weights of a layer that makes the units, [U, R] ("makes"); the scales of a batch norm, [U, 1] ("norms");
    the weights of whatever makes, scales or reads them, tensor by tensor, [U, R] ("group"); or the
    outputs behind the norm and before the activation function, [N, U, ...P] ("outputs"): then `score` returns a sum
    over samples. `backward`: all of these times the loss's gradient with respect to them.
    Several members of a site become one by `group`, and a site's scores are divided by their `norm`, unless the caller
    asks for others.
    """

    score: Callable[[Tensor], Tensor]
    of: Of = "makes"
    backward: bool = False
    group: Group = "mean"
    norm: Norm = "none"

    def __post_init__(self) -> None:
        refuse_unless("of", self.of, get_args(Of))
        refuse_unless("group", self.group, get_args(Group))
        refuse_unless("norm", self.norm, get_args(Norm))
