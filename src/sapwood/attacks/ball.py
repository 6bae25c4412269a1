"""Ball: all images that differ from a given one by at most `eps` in every pixel; exact to the last bit."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from sapwood.errors import InputError

TYPES = (torch.float32, torch.float64)


class Bounds(NamedTuple):
    """The lowest and the highest value of every pixel, in the images' shape and type."""

    low: Tensor
    high: Tensor

    def project(self, x: Tensor) -> Tensor:
        """The nearest images within the bounds."""
        return torch.minimum(torch.maximum(x, self.low), self.high)


@dataclass(frozen=True)
class Ball:
    """The l-infinity ball of radius `eps` around images, cut off at the pixels' range [low, high].

    All three are in pixels, the numbers that the network is given; a network that wants other numbers normalises its
    input itself, see `Normalised`. An `eps` in normalised numbers, or a range that cuts into them, is no l-infinity
    attack on images.
    """

    eps: float
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.eps < math.inf or not -math.inf < self.low < self.high < math.inf:
            raise InputError(f"eps={self.eps}, low={self.low}, high={self.high}: give a finite eps of 0 or more, and a "
                             "range of pixels with low below high")  # fmt: skip

    @torch.no_grad()
    def around(self, x: Tensor) -> Bounds:
        """The bounds around images x, each the outermost number of their type that lies within the ball.

        x - eps and x + eps are rounded inwards, so that |attacked - x| <= eps holds for the numbers themselves and not
        only up to rounding. InputError if images are not float32 or float64, or have a pixel outside [low, high].
        """
        self._refuse_other_than_pixels(x)
        below, above = _inward(x, -self.eps, up=True), _inward(x, self.eps, up=False)
        return Bounds(below.clamp(self.low, self.high), above.clamp(self.low, self.high))

    def drawn(self, x: Tensor, bounds: Bounds, generator: torch.Generator | None = None) -> Tensor:
        """Images drawn uniformly from the cube of radius `eps` around x, then projected into the bounds."""
        share = torch.rand(x.shape, generator=generator, dtype=x.dtype)
        return bounds.project(x + self.eps * (2 * share - 1).to(x.device))

    def _refuse_other_than_pixels(self, x: Tensor) -> None:
        if not isinstance(x, Tensor) or x.dtype not in TYPES or x.dim() < 2 or len(x) == 0:
            shown = f"{x.dtype} {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise InputError(f"the images to attack are {shown}; give one tensor [B, ...] of float32 or float64")
        low, high = float(x.min()), float(x.max())
        if not (self.low <= low and high <= x.new_tensor(self.high).item()):
            raise InputError(
                f"the images to attack have pixels from {low:.4g} to {high:.4g}, outside of {self.low:g} to "
                f"{self.high:g}; attack pixels, and put the normalisation into the network (attacks.Normalised), or "
                "give the range that they have"
            )


def _inward(x: Tensor, eps: float, *, up: bool) -> Tensor:
    """x + eps in the type of x; if that is no such number, the next one above (`up`) or below."""
    wide, end = x.double(), math.inf if up else -math.inf
    total = wide + eps
    part = total - wide
    error = (wide - (total - part)) + (eps - part)  # of the rounded sum, exactly: Knuth's two-sum
    total = torch.where(error > 0 if up else error < 0, torch.nextafter(total, torch.full_like(total, end)), total)
    found = total.to(x.dtype)
    over = found.double() < total if up else found.double() > total
    return torch.where(over, torch.nextafter(found, torch.full_like(found, end)), found)
