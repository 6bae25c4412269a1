"""Elementwise: the rules of SGD, Adam and AdamW on stacks of weights, each row with its own rates.

As torch's own, number by number: the same operations on [E, ...] as on each of its E rows. Settings that all rows have
in common stay numbers, others are a tensor that broadcasts.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

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


def descended(w: Tensor, g: Tensor, memory: Mapping[str, Tensor], lr: Number, decay: Number, rule: Any) -> None:
    """SGD, with momentum and Nesterov's if the rule says so: w changes in place."""
    g = _decayed(w, g, decay)
    if rule["momentum"]:
        speed = memory["momentum_buffer"].mul_(rule["momentum"]).add_(g)
        g = g.add(speed, alpha=rule["momentum"]) if rule["nesterov"] else speed
    _add(w, g, lr)


def adapted(
    w: Tensor, g: Tensor, memory: Mapping[str, Tensor], lr: Number, decay: Number, rule: Any, steps: Sequence[float]
) -> None:
    """Adam, or AdamW if the rule is decoupled; `steps` of each row, or of all, this one too."""
    first, second = rule["betas"]
    if rule["decoupled_weight_decay"]:
        w.mul_(1 - lr * decay)
    else:
        g = _decayed(w, g, decay)
    mean = memory["exp_avg"].lerp_(g, 1 - first)
    square = memory["exp_avg_sq"].mul_(second).addcmul_(g, g, value=1 - second)
    roots = numbers([math.sqrt(1 - second**step) for step in steps], w)
    scale = lr / numbers([1 - first**step for step in steps], w)
    size = (square.sqrt() / roots).add_(rule["eps"])
    if isinstance(scale, Tensor):
        w.sub_(mean / size * scale)
    else:
        w.addcdiv_(mean, size, value=-scale)


def _decayed(w: Tensor, g: Tensor, decay: Number) -> Tensor:
    if isinstance(decay, Tensor):
        return torch.addcmul(g, w, decay)
    return g.add(w, alpha=decay) if decay else g


def _add(w: Tensor, g: Tensor, lr: Number) -> None:
    if isinstance(lr, Tensor):
        w.addcmul_(g, lr, value=-1)
    else:
        w.add_(g, alpha=-lr)
