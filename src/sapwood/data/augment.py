"""Augmentation: training images changed at random, as `Task.augment` wants it."""

import torch
from torch.nn import functional as F

from sapwood.errors import InputError
from sapwood.task import Batch


def crop_and_flip(batch: Batch, generator: torch.Generator, *, border: int = 4) -> Batch:
    """Each image moved by up to `border` pixels along both sides, and mirrored left to right half of the time.

    Images [B, channels, height, width] get a border of zeros, from which a window of their own size is cut:
    (2 border + 1)² places, all equally likely. Zeros are black, or the mean colour where the inputs are standardised.

    *Paper:* He, Zhang, Ren, Sun 2015, "Deep Residual Learning for Image Recognition", arXiv 1512.03385, section 4.2.
    *Differs:* nothing known; the paper subtracts the mean before it pads, too.
    """
    inputs = batch.inputs
    count, channels, height, width = inputs.shape
    top, left = torch.randint(2 * border + 1, (2, count, 1), generator=generator)
    mirrored = torch.randint(2, (count, 1), generator=generator).bool()
    rows, columns = top + torch.arange(height), left + torch.arange(width)
    columns = torch.where(mirrored, columns.flip(1), columns)
    places = (
        torch.arange(count)[:, None, None, None],
        torch.arange(channels)[:, None, None],
        rows[:, None, :, None],
        columns[:, None, None, :],
    )
    bordered = F.pad(inputs, (border,) * 4)
    return Batch(bordered[tuple(place.to(inputs.device) for place in places)], batch.targets)


def blanked(batch: Batch, generator: torch.Generator, *, share: float) -> Batch:
    """Each input 0 with probability `share`, else divided by 1 - share, so that means stay.

    *Paper:* Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov 2014, "Dropout: a simple way to prevent neural
    networks from overfitting", JMLR 15, on the inputs alone.
    *Differs:* inputs are divided while training; the paper multiplies weights afterwards.
    """
    if not batch.inputs.is_floating_point():
        raise InputError(f"inputs are {batch.inputs.dtype}, in which 0 is no blank; leave blank out")
    kept = torch.rand(batch.inputs.shape, generator=generator) >= share
    return Batch(batch.inputs * kept.to(batch.inputs.device) / (1 - share), batch.targets)
