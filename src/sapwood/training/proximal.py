"""Proximal: an optimiser that makes parameters exactly 0 while it trains them, by soft thresholding after each step.

    z = S_{lr * strength}(w - lr * g),  S_a(x) = sign(x) max(|x| - a, 0)
    m <- z - w + momentum * m,  w <- z + momentum * m; with `positive`, w <- max(0, w)

Paper: Huang & Wang, "Data-driven sparse structure selection", ECCV 2018, arXiv:1707.01213, the accelerated proximal
gradient written as Nesterov's momentum, for scaling factors under an L1 penalty of `strength`.
Differs: nothing known; with strength 0 it is SGD with Nesterov's momentum at a constant learning rate.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from sapwood.errors import InputError


class ProximalNesterov(Optimizer):
    """Nesterov's momentum with soft thresholding: minimises the loss plus `strength` times the sum of absolute values.

    params: tensors, or groups that may each have their own lr, momentum, strength and positive. A plain L1 penalty in
    the loss gives no exact zeros; this does. The threshold falls with the learning rate.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 0.1,
        *,
        momentum: float = 0.9,
        strength: float = 0.0,
        positive: bool = False,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "strength": strength, "positive": positive})
        for group in self.param_groups:
            _refuse_bad(group)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of every parameter that has a gradient; what the closure gave, if there is one."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    _move(parameter, self.state[parameter], group)
        return loss


def soft(x: Tensor, threshold: float) -> Tensor:
    """x moved towards 0 by `threshold`, and 0 where it is not larger than that; the same shape."""
    return x.sign() * (x.abs() - threshold).clamp(min=0)


def _move(w: Tensor, memory: dict[str, Tensor], group: dict[str, Any]) -> None:
    z = w - group["lr"] * w.grad
    if group["strength"]:
        z = soft(z, group["lr"] * group["strength"])
    m = memory.setdefault("momentum_buffer", torch.zeros_like(w))
    m.mul_(group["momentum"]).add_(z - w)
    w.copy_(z.add_(m, alpha=group["momentum"]))
    if group["positive"]:
        w.clamp_(min=0)


def _refuse_bad(group: dict[str, Any]) -> None:
    limits = {"lr": math.inf, "momentum": 1.0, "strength": math.inf}
    for name, end in limits.items():
        if not 0 <= group[name] < end:
            raise InputError(f"{name} is {group[name]}; give a number of 0 or more" + (", below 1" if end == 1 else ""))
