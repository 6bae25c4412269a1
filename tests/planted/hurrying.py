"""Bugs planted in the search for a time: which widths are asked about, what is believed of the clock."""

import sys
import time
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

from planted.mutant import bugs, instead

sys.path.append(str(Path(__file__).parents[1] / "export"))  # where the clock for tests stands

import torch
from lookup import EVEN, X, by_sixteens, by_work, chain, clock, widths

from sapwood import prune
from sapwood.checks.law import demand
from sapwood.export import hurried, liked, pruning, timing
from sapwood.export.engines import Engine


def laws():
    """Of `prune(ms=)`."""
    return {
        "in time: no width that takes as long as a wider one is chosen": _liked,
        "in time: one wrong measurement of the search is found out": _wrong,
        "in time: where the next step is a large one, others go on": _others,
        "in time: what an engine makes is what is timed": _engine,
        "in time: one thread is timed by the processor's clock": _clock,
    }


def _liked():
    with clock(by_sixteens):
        found = widths(prune(chain(), X, ms=0.38, by=EVEN, timing=1).model)
    demand(all(width % 16 == 0 for width in found), f"widths {found}, and 16 numbers are multiplied at a time")


def _wrong():
    """The first measurement of the right network says that it is too slow."""
    model = chain()
    plain, seen = prune(model, X, macs=0.5, uniform=True, timing=0).model, []
    wanted = widths(plain)

    def first_slow(network):
        now = widths(network)
        seen.append(now)
        return by_work(network) * (10 if now == wanted and seen.count(now) == 1 else 1)

    with clock(first_slow):
        found = prune(model, X, ms=0.5, uniform=True, timing=1).model
    demand(by_work(found) >= by_work(plain), f"widths {widths(found)} where {wanted} are fast enough")


def _others():
    model = chain((64, 16, 64))
    scores = {"0": torch.arange(64.0), "2": torch.arange(16.0) * 4 + 20, "4": torch.arange(64.0)}
    with clock(longer := lambda network: by_work(network) + (0.3 * by_work(model) if widths(network)[1] > 8 else 0)):
        left = longer(prune(model, X, ms=0.55, by=scores, timing=1).model) / longer(model)
    demand(left >= 0.45, f"{left:.2f} of the time is left where 0.55 may be")


def _engine():
    asked = []
    model = chain((32, 32))
    prune(
        model, X, macs=0.5, timing=0.01, engine=lambda network, example: lambda x: asked.append(network) or network(x)
    )
    demand(len({id(each) for each in asked}) == 2, f"of two networks {len({id(e) for e in asked})} ran in the engine")


def _clock():
    clocks = []

    def latency(cases, example, *, clock, **options):
        clocks.append(clock)
        return real(cases, example, clock=clock, **options)

    real = timing.latency
    with patch.object(timing, "latency", latency):
        timing.side_by_side(chain(), chain(), X, threads=1, seconds=0)
    demand(clocks == [time.process_time], f"{clocks[0].__name__} counts what others do")


def all_in_pytorch(asked):
    return Engine("PyTorch", lambda model, example, threads: model)


CLAIMS = {
    "no width that takes as long as a wider one is chosen": {
        "no width is asked about": instead(liked.Judge, "disliked", lambda *_: {}),
        "wider widths are not asked about where a network is narrower": instead(liked, "_wider", lambda *_: ()),
    },
    "one wrong measurement of the search is found out": {
        "a network once found too slow is never measured again": instead(hurried, "climbed", lambda fits, low: low)
    },
    "where the next step is a large one, others go on": {
        "what is left of the time is left": instead(hurried._Sizes, "without_the_next", lambda self, part: self)
    },
    "what an engine makes is what is timed": {
        "whatever the engine, PyTorch is timed": instead(pruning, "engine_of", all_in_pytorch)
    },
    "one thread is timed by the processor's clock": {
        "the clock on the wall times a busy machine": instead(
            timing, "time", SimpleNamespace(process_time=time.perf_counter, perf_counter=time.perf_counter)
        )
    },
}

MUTANTS = bugs("in time", laws, CLAIMS)
