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
from sapwood.methods.soft_filter import soft_filter
from sapwood.methods.thinet import thinet
from sapwood.shrinking.cost import bytes_of, macs_of, parameters_of
from sapwood.shrinking.finding import sites
from sapwood.training.run import start
from sapwood.training.task import Data, Task

DATA = Data(images(96, 0), images(64, 1), images(48, 2))
NOW = {"epochs": 0, "tune": 0}
METHODS = {"l1_filters": l1_filters, "lasso_channels": partial(lasso_channels, lasso=False),
           "network_slimming": network_slimming, "soft_filter": soft_filter,
           "thinet": lambda run, tune=0, **options: thinet(run, between=tune, recover=tune, **options)}  # fmt: skip
UNIFORM = ("soft_filter", "thinet")  # which take the same share of each layer


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
        ("soft_filter", "macs"),
        ("soft_filter", "bytes"),
        ("thinet", "macs"),
        ("thinet", "parameters"),
    ],
)
def test_what_is_asked_for_is_met_and_one_unit_more_of_every_site_would_break_it(method, quantity):
    mine = run()
    whole, found, example = mine.model, sites(mine.apart.several), mine.task.example
    count = cost(quantity, whole, found, example)
    list(METHODS[method](mine, budget=f"{quantity}=0.5", **NOW))
    keep = {name: kept for cut in mine.cuts for name, kept in cut.keep.items()}
    left = cost(quantity, mine.model, (), mine.task.example)({})
    assert float(left) == float(count(keep)) <= 0.5 * float(count({}))
    more = {name: torch.arange(len(kept)) < int(kept.sum()) + 1 for name, kept in keep.items()}
    assert float(count(more)) > 0.5 * float(count({}))
    assert mine.notes["macs_left"] == mine.size().macs / mine.reference.macs


@pytest.mark.parametrize(("method", "share"), [("soft_filter", 0.8), ("soft_filter", 0.2), ("thinet", 0.4)])
def test_each_layer_keeps_the_same_share_and_one_unit_more_of_some_layer_would_break_the_budget(method, share):
    """`macs` and a budget in the same words are the same."""
    widths = []
    for options in ({"macs": share}, {"budget": f"macs={share}"}):
        mine = run()
        count = macs_of(mine.model, sites(mine.apart.several), mine.task.example)
        list(METHODS[method](mine, **options, **NOW))
        keep = {name: kept for cut in mine.cuts for name, kept in cut.keep.items()}
        widths.append({name: int(kept.sum()) for name, kept in keep.items()})
        shares = {name: (n - 1, n, n + 1) for name, n in widths[-1].items()}
        low, _, high = zip(*([each / len(keep[name]) for each in some] for name, some in shares.items()), strict=True)
        assert max(low) < min(high), "there is a share of which each layer has the nearest widths"
        most = share * float(count({}))
        wider = [{**keep, name: torch.arange(len(kept)) < int(kept.sum()) + 1} for name, kept in keep.items()]
        assert float(count(keep)) <= most < max(float(count(each)) for each in wider)
    assert widths[0] == widths[1]


def test_as_many_filters_are_zeroed_after_each_epoch_as_go_in_the_end():
    mine, ends = run(), []
    for now in soft_filter(mine, macs=0.4, epochs=2):
        if now.ends_epoch:
            ends.append([int((mine.model[at].weight.flatten(1) == 0).all(1).sum()) for at in (0, 3)])
    gone = [int((~kept).sum()) for kept in mine.cuts[0].keep.values()]
    assert ends == [gone, gone]
    assert min(gone) > 0


@pytest.mark.parametrize("method", UNIFORM)
def test_what_cannot_be_met_is_told_before_anything_is_trained(method):
    mine = run()
    with pytest.raises(InputError, match="cannot be met"):
        next(METHODS[method](mine, macs=0.001, epochs=1))
    with pytest.raises(InputError, match="give one of the three"):
        next(METHODS[method](mine, macs=0.5, budget="bytes=0.5", epochs=1))
    assert mine.step == 0


def test_where_every_layer_is_spared_nothing_can_be_met():
    with pytest.raises(InputError, match="no scores were given"):
        next(thinet(run(), spared=9, macs=0.5))


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


@pytest.mark.parametrize("method", ["lasso_channels", "network_slimming", *UNIFORM])
def test_milliseconds_are_measured_until_they_are_met(method, clock):
    mine = run()
    whole = sum(p.numel() for p in mine.model.parameters())
    list(METHODS[method](mine, budget="ms=0.6", **NOW))
    left = sum(p.numel() for p in mine.model.parameters())
    assert 0.45 * whole <= left <= 0.6 * whole
    assert left == clock[-1]
    assert len(clock) <= 12


@pytest.mark.parametrize(("method", "epochs"), [("l1_filters", 0), ("soft_filter", 1), ("thinet", 1)])
def test_a_resumed_run_does_not_measure_again(method, epochs, tmp_path, clock):
    first = run()
    moments = METHODS[method](first, budget="ms=0.6", epochs=epochs, tune=2)
    next(moments)
    first.save(tmp_path / "state")
    rest = len(list(moments))
    count, kept = len(clock), [cut.keep for cut in first.cuts]
    again = start(first.task, saved=tmp_path / "state")
    assert len(list(METHODS[method](again, budget="ms=0.6", epochs=epochs, tune=2))) == rest
    assert len(clock) == count
    for one, other in zip(again.cuts, kept, strict=True):
        assert all(torch.equal(one.keep[name], each) for name, each in other.items())


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
        ({"budget": "parameters=0.001"}, "cost of .* cannot be met"),
    ],
)
def test_bad_budgets_are_refused(options, says):
    with pytest.raises(InputError, match=says):
        list(l1_filters(run(), **options, **NOW))
