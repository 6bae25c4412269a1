"""A time as the target: with a clock that looks times up, which networks are built, chosen and refused."""

import lookup
import pytest
import torch
from lookup import EVEN, X, by_sixteens, by_work, chain, clock, widths
from torch import nn

from sapwood import InputError, prune
from sapwood.export import engines, timing
from sapwood.export.liked import kinds
from sapwood.shrinking.finding import sites


@pytest.mark.parametrize(("target", "chosen"), [(0.6, [48, 48, 48]), (0.42, [48, 32, 32])])
def test_widths_that_are_not_liked_are_never_chosen(target, chosen):
    """By work alone these would be 40, 40, 32 and 40, 32, 32, which take as long or longer."""
    model, seen = chain(), []
    with clock(by_sixteens, seen):
        pruned = prune(model, X, ms=target, by=EVEN, timing=1)
    assert pruned.times.left.median == by_sixteens(pruned.model) / by_sixteens(model) <= target
    assert widths(pruned.model) == chosen
    assert len({tuple(after) for _, after in seen}) <= 25  # not all 512


def test_no_width_of_what_comes_back_is_as_slow_as_the_next_of_its_kind():
    model = chain((64, 64, 48, 48))
    even = {name: torch.arange(width) for name, width in zip("0246", widths(model), strict=True)}
    with clock(by_sixteens):
        small = prune(model, X, ms=0.5, by=even, timing=1).model
    before, after = widths(model), widths(small)
    for whole, width in set(zip(before, after, strict=True)):
        if width < whole:
            wider = [
                min(whole, w + 8) if (was, w) == (whole, width) else w for was, w in zip(before, after, strict=True)
            ]
            assert by_sixteens(chain(wider)) > by_sixteens(small)


def test_where_time_is_work_no_less_is_left_than_where_work_is_the_target():
    model = chain()
    with clock(by_work):
        for share in (0.75, 0.375):
            small = prune(model, X, ms=share, by=EVEN, timing=1).model
            least = by_work(prune(model, X, macs=share, by=EVEN, timing=0).model)
            assert least <= by_work(small) <= share * by_work(model)


@pytest.mark.parametrize("target", [0.45, 0.4])
def test_where_the_next_step_is_a_large_one_others_go_on(target):
    """The step of a thin layer between wide ones is a quarter of the work."""
    model = chain((64, 16, 64))
    scores = {"0": torch.arange(64.0), "2": torch.arange(16.0) * 4 + 20, "4": torch.arange(64.0)}
    with clock(by_work):
        pruned = prune(model, X, ms=target, by=scores, timing=1)
    assert 0.93 * target <= by_work(pruned.model) / by_work(model) <= target


def test_the_same_share_everywhere_takes_widths_as_they_come():
    with clock(by_sixteens):
        pruned = prune(chain(), X, ms=0.45, uniform=True, multiple=4, timing=1)
    assert len(set(widths(pruned.model))) == 1
    assert pruned.times.left.median <= 0.45


def test_milliseconds_as_a_number_are_those_of_the_share():
    model = chain()
    with clock(by_sixteens):
        share = prune(model, X, ms=0.5, timing=1).model
        number = prune(model, X, ms=1000 * 0.5 * by_sixteens(model), timing=1).model
    assert widths(share) == widths(number)


def test_one_wrong_measurement_does_not_make_the_network_much_smaller():
    model, count = chain(), 0

    def once_slow(network):
        nonlocal count
        count += network is not model
        return by_work(network) * (10 if count == 12 and network is not model else 1)

    right = prune(model, X, macs=0.5, timing=0)
    found = []
    for wrong in (1, 6, 11):
        count = 12 - wrong
        with clock(once_slow):
            found.append(prune(model, X, ms=0.5, timing=1).after.macs)
    assert max(found) >= right.after.macs
    assert min(found) >= 0.9 * right.after.macs


def test_a_target_below_the_smallest_is_refused_with_the_fastest():
    with (
        clock(by_sixteens),
        pytest.raises(InputError, match=r"ms=0.01 cannot be met: .* the fastest that was measured"),
    ):
        prune(chain(), X, ms=0.01, timing=1)


def test_kinds_are_sites_of_as_many_units_on_like_kernels():
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 4, 1), nn.Flatten(), nn.Linear(16, 2)
    )
    found = kinds(model, sites(model, torch.zeros(1, 1, 6, 6)))
    assert sorted([site.name for site in each] for each in found.values()) == [["0"], ["1"], ["2"], ["3"]]
    assert next(iter(kinds(chain(), sites(chain(), X)).values()))[0].name == "0"
    assert len(kinds(chain((64, 64, 32)), sites(chain((64, 64, 32)), X))) == 2


def test_what_an_engine_makes_is_what_is_timed(monkeypatch):
    made, timed = [], []

    def mine(model, example):
        made.append((model, example))
        return lambda x: timed.append(model) or model(x)

    model = chain((32, 32))
    pruned = prune(model, X, macs=0.5, engine=mine, timing=0.01)
    assert [each for each, _ in made] == [model, pruned.model]
    assert {id(each) for each in timed} == {id(model), id(pruned.model)}
    assert "in mine on cpu" in str(pruned)
    assert "CPU time" not in str(pruned)
    assert "in PyTorch on cpu, batch 2, 1 thread: median" in str(prune(model, X, macs=0.5, timing=0.01))
    assert ", CPU time" in str(prune(model, X, macs=0.5, timing=0.01))


def test_in_onnx_runtime():
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    pruned = prune(chain((32, 32)), X, macs=0.5, engine="onnxruntime", timing=0.01)
    assert "in ONNX Runtime on cpu, batch 2" in str(pruned)
    run = engines.engine_of("onnxruntime").of(pruned.model, X, 1)
    x = torch.rand(2, 8)
    assert torch.allclose(run(x)[0], pruned.model(x), atol=1e-6)


@pytest.mark.parametrize(
    ("engine", "says"),
    [("onnxruntim", "unknown engine 'onnxruntim'; did you mean 'onnxruntime'?"), (3, "engine is 3; give 'pytorch' or")],
)
def test_an_unknown_engine_is_named(engine, says):
    with pytest.raises(InputError, match=says):
        prune(chain(), X, macs=0.5, engine=engine)


def test_one_thread_is_timed_by_the_processors_clock_and_a_stranger_by_the_wall(monkeypatch):
    clocks = []

    def latency(cases, example, *, threads, rounds, warmup, clock):
        clocks.append(clock)
        return {name: lookup.Timing(1.0, 1.0, 1.0, 1.0, 2, threads, (1.0,) * rounds) for name in cases}

    monkeypatch.setattr(timing, "latency", latency)
    for threads, wall in ((1, False), (2, False), (1, True)):
        times = timing.side_by_side(chain(), chain(), X, threads=threads, seconds=0, wall=wall)
        assert times.alone is (clocks[-1] is timing.time.process_time) is (threads == 1 and not wall)
