"""A clock for tests: what a network takes is looked up in its layers' shapes."""

from contextlib import contextmanager
from itertools import pairwise
from unittest.mock import patch

import torch
from torch import nn

from sapwood.export import pruning
from sapwood.export.pruned import Times
from sapwood.measure.clock import Ratio, Timing

DISLIKED = (24, 40, 56)  # a layer as wide as that takes a little longer than the next multiple of 16
X = torch.zeros(2, 8)
EVEN = {name: torch.arange(64) for name in "024"}  # scores by which the layers of `chain` get narrower together


def chain(widths=(64, 64, 64), seed=0):
    """Linear layers, one behind another."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        sizes = [8, *widths, 4]
        layers = [each for a, b in pairwise(sizes) for each in (nn.Linear(a, b), nn.ReLU())]
        return nn.Sequential(*layers[:-1])


def widths(model):
    """What its hidden layers are wide."""
    return [layer.out_features for layer in model if isinstance(layer, nn.Linear)][:-1]


def by_work(model):
    """Seconds in proportion to multiply-adds."""
    return sum(p.numel() for p in model.parameters() if p.dim() > 1) / 2**20


def by_sixteens(model):
    """Sixteen neurons at a time, and longer for widths that are not liked."""
    up = lambda n: -(-n // 16) * 16 + (1 if n in DISLIKED else 0)  # noqa: E731
    shapes = [p.shape for p in model.parameters() if p.dim() > 1]
    return sum(up(rows) * up(columns) for rows, columns in shapes) / 2**20


@contextmanager
def clock(seconds, seen=None):
    """Inside, a network takes `seconds` of itself; what was compared is noted in `seen`."""

    def timed(before, after, example, *, threads, seconds=None, wall=False):
        took = [take(each) for each in (before, after)]
        if seen is not None:
            seen.append((widths(before), widths(after)))
        left = took[1] / took[0]
        times = (Timing(each, each, each, each, len(X), threads, (each,) * 4) for each in took)
        return Times(*times, Ratio(left, left, left, len(X), threads), "cpu")

    take = seconds
    with patch.object(pruning, "side_by_side", timed):
        yield
