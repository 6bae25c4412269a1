"""Elementwise: the rules of SGD, Adam and AdamW on stacks of weights, each row with its own rates.

As torch's own, number by number: the same operations on [E, ...] as on each of its E rows. Settings that all rows have
in common stay numbers, others are a tensor that broadcasts.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

Number = float | Tensor  # of all rows, or [E, 1, ...]


def numbers(values: Sequence[float], like: Tensor) -> Number:
    """A float if one number is given, which is of all rows of `like`; else a tensor that broadcasts over the rest."""
    if len(values) == 1:
        return values[0]
    shape = (-1, *(1 for _ in like.shape[1:]))
    return torch.tensor(values, dtype=torch.float64).to(like).reshape(shape)


def common(values: Sequence[float]) -> Sequence[float]:
    """One value in place of many that are equal, found by one call however many members there are."""
    values = [*values]
    return values[:1] if values.count(values[0]) == len(values) else values


def descended(
    w: Tensor,
    g: Tensor,
    memory: Mapping[str, Tensor],
    lr: Number,
    decay: Number,
    rule: Any,
    momentum: Number | None = None,
) -> None:
    """SGD, with momentum and Nesterov's if the rule says so: w changes in place.

    momentum: what the memory is multiplied by, where that is not the rule's for all rows.
    """
    g = _decayed(w, g, decay)
    if rule["momentum"]:
        kept = rule["momentum"] if momentum is None else momentum
        speed = memory["momentum_buffer"].mul_(kept).add_(g)
        g = g.add(speed, alpha=rule["momentum"]) if rule["nesterov"] else speed
    _add(w, g, lr)


class Moments(NamedTuple):
    """How far Adam's means go to a new gradient, and what its steps are multiplied and its roots divided by."""

    new: Number  # 1 - beta of the mean
    kept: Number  # beta of the mean of squares
    scale: Number
    roots: Number


def moments(steps: Sequence[float], lr: Number, rule: Any, like: Tensor) -> Moments:
    """Those of rows that have made so many steps, this one too; of all rows if one number is given."""
    first, second = rule["betas"]
    roots = numbers([math.sqrt(1 - second**step) for step in steps], like)
    return Moments(1 - first, second, lr / numbers([1 - first**step for step in steps], like), roots)


def adapted(
    w: Tensor, g: Tensor, memory: Mapping[str, Tensor], lr: Number, decay: Number, rule: Any, by: Moments
) -> None:
    """Adam, or AdamW if the rule is decoupled: w changes in place."""
    if rule["decoupled_weight_decay"]:
        w.mul_(1 - lr * decay)
    else:
        g = _decayed(w, g, decay)
    mean = memory["exp_avg"].lerp_(g, by.new)
    square = memory["exp_avg_sq"].mul_(by.kept).addcmul_(g, g, value=1 - rule["betas"][1])
    size = (square.sqrt() / by.roots).add_(rule["eps"])
    if isinstance(by.scale, Tensor):
        w.sub_(mean / size * by.scale)
    else:
        w.addcdiv_(mean, size, value=-by.scale)


def _decayed(w: Tensor, g: Tensor, decay: Number) -> Tensor:
    if isinstance(decay, Tensor):
        return torch.addcmul(g, w, decay)
    return g.add(w, alpha=decay) if decay else g


def _add(w: Tensor, g: Tensor, lr: Number) -> None:
    if isinstance(lr, Tensor):
        w.addcmul_(g, lr, value=-1)
    else:
        w.add_(g, alpha=-lr)
