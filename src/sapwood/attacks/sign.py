"""Sign: attacks that follow the sign of the loss's gradient by the image, in one step or in many.

    x <- P(x + step sign(∂ loss / ∂x)),   P the projection into the ball

They run the network in evaluation mode, and leave its mode, buffers and gradients alone.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sapwood.attacks.ball import Ball, Bounds
from sapwood.errors import InputError
from sapwood.scoring.modes import evaluating

Loss = Callable[[Tensor, Tensor], Tensor]  # (outputs, targets) -> the loss of each sample, [B]
Attack = Callable[[nn.Module, Tensor, Tensor], Tensor]  # (model, images, targets) -> attacked images
REACH = 2.5  # steps of the usual length could walk so many times from the middle of the ball to its border

cross_entropy: Loss = partial(F.cross_entropy, reduction="none")


def fgsm(model: nn.Module, inputs: Tensor, targets: Tensor, *, ball: Ball, loss: Loss = cross_entropy) -> Tensor:
    """Images attacked by one step of length `eps` from the images themselves; shape and type of `inputs`.

    *Paper:* Goodfellow, Shlens, Szegedy 2015, "Explaining and harnessing adversarial examples", arXiv:1412.6572.

    >>> from sapwood import attacks
    >>> model, images = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), torch.rand(3, 1, 2, 2)
    >>> attacked = attacks.fgsm(model, images, torch.tensor([0, 1, 1]), ball=attacks.Ball(0.1))
    >>> bool((attacked.double() - images.double()).abs().max() <= 0.1)
    True
    """
    return pgd(model, inputs, targets, ball=ball, steps=1, step=ball.eps, random=False, loss=loss)


def pgd(
    model: nn.Module, inputs: Tensor, targets: Tensor, *, ball: Ball, steps: int = 40, step: float | None = None,
    restarts: int = 1, random: bool = True, generator: torch.Generator | None = None, loss: Loss = cross_entropy,
) -> Tensor:  # fmt: skip
    """Images attacked by `steps` steps of projected gradient ascent; shape and type of `inputs`.

    step: the length of a step, 2.5 eps / steps if None. random: begin anywhere in the ball, not at the image; draws
    come from `generator`, else from torch's own. With several `restarts` each image gets the end that is misclassified,
    of several such ends, or of none, the one of the highest loss; a further restart never makes an attack worse.

    *Paper:* Madry, Makelov, Schmidt, Tsipras, Vladu 2018, "Towards deep learning models resistant to adversarial
    attacks", arXiv:1706.06083.
    *Differs:* the projection is exact, not up to rounding.
    """
    length = REACH * ball.eps / steps if step is None and steps > 0 else step
    if type(steps) is not int or steps < 1 or type(restarts) is not int or restarts < 1 or not (length or 0) >= 0:
        raise InputError(
            f"{steps=}, {step=}, {restarts=}: give at least 1 step and 1 restart, and a length of 0 or more"
        )
    bounds, fixed = ball.around(inputs), inputs.detach()
    climb = partial(_climb, model, targets, loss, bounds, steps, length or 0.0)
    with evaluating(model), torch.enable_grad():
        best = climb(ball.drawn(fixed, bounds, generator) if random else fixed)
        for _ in range(restarts - 1):
            other = climb(ball.drawn(fixed, bounds, generator) if random else fixed)
            best = _worse_of(model, targets, loss, best, other)
    return best


@torch.no_grad()
def withstands(model: nn.Module, inputs: Tensor, targets: Tensor, attack: Attack | None = None) -> Tensor:
    """Whether each image is classified right, bool [B], both as it is and attacked; its mean is the robust accuracy.

    An image that is misclassified without any attack does not count as withstanding one, whatever the attack does.
    """
    with evaluating(model):
        right = _outputs(model, inputs).argmax(1) == targets
        if attack is not None:
            right &= _outputs(model, attack(model, inputs, targets)).argmax(1) == targets
    return right


def _climb(model: nn.Module, targets: Tensor, loss: Loss, bounds: Bounds, steps: int, step: float, x: Tensor) -> Tensor:
    for _ in range(steps):
        x = x.detach().requires_grad_()
        (slope,) = torch.autograd.grad(loss(_outputs(model, x), targets).sum(), [x])  # parameters get none
        if not bool(torch.isfinite(slope.sum())):  # whose sign torch says is 0
            raise InputError("the gradient of the loss by the images is not finite, so there is no attack; look at the "
                             "network's outputs for these images")  # fmt: skip
        x = bounds.project(x.detach() + step * slope.sign())
    return x.detach()


@torch.no_grad()
def _worse_of(model: nn.Module, targets: Tensor, loss: Loss, one: Tensor, other: Tensor) -> Tensor:
    """Of two attacks on each image the more successful one; of equals the first."""
    (was, lost), (found, losing) = _success(model, targets, loss, one), _success(model, targets, loss, other)
    better = (found & ~was) | ((found == was) & (losing > lost))
    return torch.where(better.view(-1, *[1] * (one.dim() - 1)), other, one)


def _success(model: nn.Module, targets: Tensor, loss: Loss, x: Tensor) -> tuple[Tensor, Tensor]:
    """Whether each attacked image has another class, bool [B], and its loss, [B]."""
    outputs = _outputs(model, x)
    classes = outputs.dim() == 2 and not targets.is_floating_point()
    gained = loss(outputs, targets)
    return (outputs.argmax(1) != targets) if classes else torch.zeros_like(gained, dtype=torch.bool), gained


def _outputs(model: nn.Module, x: Tensor) -> Tensor:
    given: Any = model(x)
    outputs: Tensor = given if isinstance(given, Tensor) else given.logits
    return outputs
