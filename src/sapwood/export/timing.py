"""Timing: two networks side by side, in as many rounds as fit in some seconds."""

import time

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from sapwood.export.engines import Runs
from sapwood.export.pruned import Times
from sapwood.measure.clock import latency, ratio
from sapwood.measure.example import Example, as_tuple

FEWEST, MOST = 4, 100  # rounds


def side_by_side(
    before: Runs, after: Runs, example: Example, *, threads: int, seconds: float, wall: bool = False
) -> Times:
    """Times of both networks on the example, taking turns for about `seconds`, in 4 to 100 rounds.

    One thread of this process is timed by the processor's clock, which does not count what others do; not with `wall`.
    The seconds are of the same clock: on a busy machine it takes longer, and is as exact.
    """
    cases, device = {"before": before, "after": after}, device_of(example)
    alone = threads == 1 and device == "cpu" and not wall
    clock = time.process_time if alone else time.perf_counter
    began = clock()
    first = latency(cases, example, threads=threads, rounds=FEWEST, warmup=1, clock=clock)
    once = (clock() - began) / (FEWEST + 1)
    rounds = min(MOST, int(seconds / once) - FEWEST - 1)
    found = latency(cases, example, threads=threads, rounds=rounds, warmup=0, clock=clock) if rounds > FEWEST else first
    return Times(found["before"], found["after"], ratio(found["after"], found["before"]), device, alone=alone)


def device_of(example: Example) -> str:
    """Where the example's first tensor lies."""
    found = next(
        (x.device for x in pytree.tree_leaves(as_tuple(example)) if isinstance(x, Tensor)), torch.device("cpu")
    )
    return str(found)
