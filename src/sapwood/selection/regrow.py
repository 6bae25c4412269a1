"""Regrow: masks that move; as many weights come back as go, so that every layer keeps its density."""

from collections.abc import Mapping

import torch
from torch import Tensor

from sapwood.currency import Masks
from sapwood.errors import InputError, unknown
from sapwood.selection import schedule, select


def regrow(
    masks: Mapping[str, Tensor], drop: Mapping[str, Tensor], grow: Mapping[str, Tensor], fraction: float
) -> Masks:
    """In each layer the floor(fraction * active) lowest of `drop` go, and as many of the highest of `grow` come.

    `drop` scores what is kept, `grow` what is not, which includes what has just gone: it may come back at once.
    *Paper:* Mocanu et al. 2018, arXiv:1707.04780 (SET); Evci et al. 2020, arXiv:1911.11134, algorithm 1 (RigL).
    *Differs:* nothing known of RigL; SET takes the fraction of positive and of negative weights separately.
    """
    if not 0 <= fraction <= 1:
        raise InputError(f"fraction is {fraction}; give the share of the active weights that moves, in [0, 1]")
    for name in masks:
        for scores in (drop, grow):
            if name not in scores:
                raise unknown("layer in scores", name, scores)
    return {name: _moved(name, keep, drop[name], grow[name], fraction) for name, keep in masks.items()}


def _moved(name: str, keep: Tensor, drop: Tensor, grow: Tensor, fraction: float) -> Tensor:
    active = int(torch.count_nonzero(keep))
    moving = schedule.counts_of((fraction,), active)[0] if active else 0
    left = select.drop({name: drop}, moving, among={name: keep})[name]
    free = keep.numel() - active + moving
    return left | select.drop({name: grow}, free - moving, among={name: ~left})[name]
