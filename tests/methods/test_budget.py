"""Budgets of methods: a share of multiply-adds, parameters, bytes or milliseconds is met within a unit."""

from functools import partial

import pytest
import torch
from squares import images, plain
from torch.optim import SGD

from sapwood.errors import InputError
from sapwood.export import run_budget as budgets
from sapwood.export.pruned import Times
from sapwood.measure.clock import Ratio, Timing
from sapwood.methods.l1_filters import l1_filters
from sapwood.methods.lasso_channels import lasso_channels
from sapwood.methods.network_slimming import network_slimming
from sapwood.shrinking.cost import bytes_of, macs_of, parameters_of
from sapwood.shrinking.finding import sites
from sapwood.training.run import start
from sapwood.training.task import Data, Task

DATA = Data(images(96, 0), images(64, 1), images(48, 2))
NOW = {"epochs": 0, "tune": 0}
METHODS = {"l1_filters": l1_filters, "lasso_channels": partial(lasso_channels, lasso=False),
           "network_slimming": network_slimming}  # fmt: skip


def run():
    return start(Task("images", plain, DATA, partial(SGD, lr=0.05), batch_size=32, classes=4))


def cost(quantity, model, found, example):
    return {"macs": lambda: macs_of(model, found, example), "parameters": lambda: parameters_of(model, found),
            "bytes": lambda: bytes_of(model, found)}[quantity]()  # fmt: skip


@pytest.mark.parametrize(
    ("method", "quantity"),
    [
        ("l1_filters", "macs"),
        ("l1_filters", "parameters"),
        ("lasso_channels", "bytes"),
        ("network_slimming", "parameters"),
    ],
)
def test_what_is_asked_for_is_met_and_one_unit_more_of_every_site_would_break_it(method, quantity):
    mine = run()
    whole, found, example = mine.model, sites(mine.apart.several), mine.task.example
    count = cost(quantity, whole, found, example)
    list(METHODS[method](mine, budget=f"{quantity}=0.5", **NOW))
    (cut,) = mine.cuts
    left = cost(quantity, mine.model, (), mine.task.example)({})
    assert float(left) == float(count(cut.keep)) <= 0.5 * float(count({}))
    more = {name: torch.arange(len(kept)) < int(kept.sum()) + 1 for name, kept in cut.keep.items()}
    assert float(count(more)) > 0.5 * float(count({}))
    assert mine.notes["macs_left"] == mine.size().macs / mine.reference.macs


@pytest.fixture
def clock(monkeypatch):
    """Time in proportion to parameters; the networks that were timed."""
    seen = []

    def timed(before, after, example, *, threads, seconds):
        sizes = [float(sum(p.numel() for p in each.parameters())) for each in (before, after)]
        seen.append(sizes[1])
        times = (Timing(each, each, each, each, 1, threads, (each,) * 4) for each in sizes)
        left = sizes[1] / sizes[0]
        return Times(*times, Ratio(left, left, left, 1, threads), "cpu")

    monkeypatch.setattr(budgets, "side_by_side", timed)
    return seen


@pytest.mark.parametrize("method", ["lasso_channels", "network_slimming"])
def test_milliseconds_are_measured_until_they_are_met(method, clock):
    mine = run()
    whole = sum(p.numel() for p in mine.model.parameters())
    list(METHODS[method](mine, budget="ms=0.6", **NOW))
    left = sum(p.numel() for p in mine.model.parameters())
    assert 0.45 * whole <= left <= 0.6 * whole
    assert left == clock[-1]
    assert len(clock) <= 12


def test_a_resumed_run_does_not_measure_again(tmp_path, clock):
    first = run()
    moments = l1_filters(first, budget="ms=0.6", epochs=0, tune=2)
    next(moments)
    first.save(tmp_path / "state")
    moments.close()
    count, kept = len(clock), first.cuts[0].keep
    again = start(first.task, saved=tmp_path / "state")
    list(l1_filters(again, budget="ms=0.6", epochs=0, tune=2))
    assert len(clock) == count
    assert all(torch.equal(again.cuts[0].keep[name], each) for name, each in kept.items())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"budget": "half"},
            "budget 'half' is none: give macs or parameters or bytes or ms and a share, as in bytes=0.5",
        ),
        ({"budget": "macs=2"}, "budget 'macs=2' is none"),
        ({"budget": "bytes=0"}, "budget 'bytes=0' is none"),
        ({"budget": "ms=x"}, "budget 'ms=x' is none"),
        ({"budget": "bytes=0.5", "macs": 0.5}, "budget='bytes=0.5' with .*macs=0.5: give one of the three"),
        ({"budget": "parameters=0.001"}, "limit .* cannot be met"),
    ],
)
def test_bad_budgets_are_refused(options, says):
    with pytest.raises(InputError, match=says):
        list(l1_filters(run(), **options, **NOW))
