"""Obfuscated gradients: whether a network withstands attacks, or only hides from gradients.

*Paper:* Athalye, Carlini, Wagner 2018, "Obfuscated gradients give a false sense of security", arXiv:1802.00420,
section 3.1; Carlini et al. 2019, "On evaluating adversarial robustness", arXiv:1902.06705.
"""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sapwood.attacks.ball import Ball
from sapwood.attacks.sign import fgsm, pgd, withstands

LONGER = 100  # steps of the attack that should find nothing new
NEAR = 0.02  # of the images: how far accuracies may be apart that should be equal
NONE_LEFT = 0.1  # of the images: as many may withstand an attack that may change every pixel to anything
LEVEL = 0.02  # of the images: as many may have no gradient at all


class Signs(NamedTuple):
    """The share of images that is classified right under attacks of several kinds, and what is odd about it."""

    clean: float
    fgsm: float
    pgd: float
    longer: float  # as many steps again and more
    unlimited: float  # with every pixel free
    level: float  # the share of images at which the loss has no gradient
    transferred: float | None = None  # attacked through another network

    def warnings(self) -> list[str]:
        """What speaks for hidden gradients, a sentence each; none of a network that is as robust as it seems."""
        return list(_odd(self))


def signs_of_masking(
    model: nn.Module, inputs: Tensor, targets: Tensor, *, ball: Ball, steps: int = 40, step: float | None = None,
    other: nn.Module | None = None, generator: torch.Generator | None = None,
) -> Signs:  # fmt: skip
    """The signs by which a network's gradients are known to be masked, on these images.

    `other`: another network for the same task, whose attacks are tried on this one; they should do less harm than
    its own.

    >>> from sapwood import attacks
    >>> model, images = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), torch.rand(3, 1, 2, 2)
    >>> attacks.signs_of_masking(model, images, torch.tensor([0, 1, 1]), ball=attacks.Ball(0.1)).warnings()
    []
    """
    right = partial(withstands, model, inputs, targets)
    climb = partial(pgd, steps=steps, ball=ball, step=step, generator=generator)
    free = Ball(ball.high - ball.low, ball.low, ball.high)

    def borrowed(_: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        assert other is not None
        return climb(other, x, y)

    return Signs(
        clean=_mean(right()),
        fgsm=_mean(right(partial(fgsm, ball=ball))),
        pgd=_mean(right(climb)),
        longer=_mean(right(partial(climb, steps=max(LONGER, 2 * steps)))),
        unlimited=_mean(right(partial(climb, ball=free, step=None))),
        level=_level(model, inputs, targets, ball),
        transferred=None if other is None else _mean(right(borrowed)),
    )


def _odd(signs: Signs) -> Iterator[str]:
    if signs.pgd > signs.fgsm + NEAR:
        yield f"many steps do less harm than one: {signs.pgd:.3f} withstand them, {signs.fgsm:.3f} the one"
    if signs.longer < signs.pgd - NEAR:
        yield f"a longer attack finds more: {signs.longer:.3f} withstand it, {signs.pgd:.3f} the one that was asked for"
    if signs.unlimited > NONE_LEFT:
        yield f"with every pixel free {signs.unlimited:.3f} of the images are still classified right"
    if signs.transferred is not None and signs.transferred < signs.pgd - NEAR:
        yield (
            f"attacks on another network do more harm: {signs.transferred:.3f} withstand them, {signs.pgd:.3f} its own"
        )
    if signs.level > LEVEL:
        yield f"at {signs.level:.3f} of the images the loss has no gradient, so that no attack can follow it"


def _level(model: nn.Module, inputs: Tensor, targets: Tensor, ball: Ball) -> float:
    """The share of images that a step of FGSM leaves where they are, though the ball has room."""
    if ball.eps == 0:
        return 0.0
    return _mean((fgsm(model, inputs, targets, ball=ball) == inputs).flatten(1).all(1))


def _mean(which: Tensor) -> float:
    return float(which.to(torch.float64).mean())
