"""Timetable: with seconds that follow from sizes, its cost is worked by hand; and it is measured for real once."""

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm
from zoo import Written, built, conv, flat, image, plain, settled

from sapwood.errors import InputError
from sapwood.selection.select import within
from sapwood.shrinking import timing as tables
from sapwood.shrinking.finding import sites
from sapwood.shrinking.timing import latency_of, timetable


class Timing:
    def __init__(self, median):
        self.median = median


@pytest.fixture
def timed(monkeypatch):
    """A layer takes a second for each number of its weight, a network 1000 besides; which layers were timed."""
    asked = []

    def latency(cases, inputs, **options):
        (model,) = cases.values()
        model(*(inputs if isinstance(inputs, tuple) else (inputs,)))
        alone = isinstance(model, nn.Linear | nn.Conv2d)
        asked.append(tuple(model.weight.shape[:2]) if alone else "whole")
        weights = (m.weight.numel() for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d))
        return {"": Timing(float(sum(weights)) + (0 if alone else 1000))}

    monkeypatch.setattr(tables, "latency", latency)
    return asked


def test_between_measured_widths_seconds_are_linear(timed):
    model, example = (
        settled(nn.Sequential(nn.Linear(5, 9), nn.ReLU(), nn.Linear(9, 7), nn.ReLU(), nn.Linear(7, 2))),
        flat(5),
    )
    table = timetable(model, sites(model, example), example, points=3)
    assert timed == [(1, 5), (5, 5), (9, 5), (1, 1), (1, 5), (1, 9), (4, 1), (4, 5), (4, 9), (7, 1), (7, 5), (7, 9),
                     (2, 1), (2, 4), (2, 7), "whole"]  # fmt: skip
    assert table.rest == 1000
    cost = latency_of(table)
    assert cost({}) == 1000 + 5 * 9 + 9 * 7 + 7 * 2
    for first, second in ((9, 7), (6, 3), (1, 1), (5, 2)):  # i * o is linear in each, so nothing is lost
        keep = {"0": torch.arange(9) < first, "2": torch.arange(7) < second}
        assert float(cost(keep)) == pytest.approx(1000 + 5 * first + first * second + second * 2, abs=1e-9)
    likely = {"0": torch.full((9,), 0.5, requires_grad=True), "2": torch.full((7,), 0.5, requires_grad=True)}
    cost(likely).backward()
    torch.testing.assert_close(likely["0"].grad, torch.full((9,), 5 + 3.5))
    torch.testing.assert_close(likely["2"].grad, torch.full((7,), 4.5 + 2))
    assert cost({"0": torch.zeros(9), "2": torch.zeros(7)}) == 1000 + 5 + 1 + 2  # no narrower than what was measured


def test_noise_never_makes_a_wider_layer_the_faster_one(monkeypatch):
    noisy = {(1, 5): 3.0, (5, 5): 2.0, (9, 5): 10.0}

    def latency(cases, inputs, **options):
        (model,) = cases.values()
        return {"": Timing(noisy.get(tuple(model.weight.shape), 0.0) if isinstance(model, nn.Linear) else 0.0)}

    monkeypatch.setattr(tables, "latency", latency)

    model, example = nn.Sequential(nn.Linear(5, 9), nn.ReLU(), nn.Linear(9, 2)), torch.zeros(1, 5)
    cost = latency_of(timetable(model, sites(model, example), example, points=3))
    assert [float(cost({"0": torch.arange(9) < n})) for n in (1, 3, 5, 7, 9)] == [3, 3, 3, 6.5, 10]


def test_layers_of_one_kind_are_timed_once_and_each_call_counts(timed):
    def forward(of, x):
        x = torch.relu(of["a"](x))
        return of["head"](of["b"](torch.relu(of["b"](torch.relu(of["c"](x))))))

    layers = {name: nn.Linear(6, 6) for name in "abc"}
    model, example = settled(Written(forward, **layers, head=nn.Linear(6, 2))), flat(6)
    table = timetable(model, (), example)
    assert timed == [(6, 6), (2, 6), "whole"]
    assert [call.layer for call in table.calls] == ["layers.a", "layers.c", "layers.b", "layers.b", "layers.head"]
    assert latency_of(table)({}) == 4 * 36 + 12 + max(0, 1000 + 3 * 36 + 12 - (4 * 36 + 12))


def test_convolutions_in_groups_and_one_by_one(timed):
    def forward(of, x):
        return of["out"](of["mid"](of["deep"](of["a"](x))))

    model, example = settled(Written(forward, a=conv(3, 8), deep=conv(8, 16, groups=8), mid=conv(16, 8, groups=2),
                                     out=conv(8, 2, 1))), image()  # fmt: skip
    found = sites(model, example)
    cost = latency_of(timetable(model, found, example, points=2))
    assert cost({}) == 1000 + sum(p.numel() for n, p in model.named_parameters() if n.endswith("weight"))
    values = [float(cost({s.name: torch.arange(s.units) < n for s in found})) for n in (4, 3, 2, 1)]
    assert values == sorted(values, reverse=True)
    assert values[0] > values[-1]


def test_seconds_of_several_samples_are_those_of_each(timed):
    model, example = built(plain)
    found = sites(model, example)
    cost = latency_of(timetable(model, found, example, points=3))
    luck = torch.Generator().manual_seed(0)
    shares = {site.name: torch.rand(2, 3, site.units, generator=luck) for site in found}
    alone = [[cost({name: of[i, j] for name, of in shares.items()}) for j in range(3)] for i in range(2)]
    torch.testing.assert_close(cost(shares), torch.tensor(alone, dtype=torch.float64), rtol=1e-12, atol=0)


def test_a_computed_weight_counts_as_it_is(timed):
    model, example = nn.Sequential(weight_norm(nn.Conv2d(3, 6, 3)), nn.ReLU(), conv(6, 2, 1)).double(), image()
    found = sites(model, example)
    cost = latency_of(timetable(model, found, example))
    assert cost({}) == 1000 + 6 * 3 * 9 + 2 * 6
    assert cost({site.name: torch.arange(site.units) < 3 for site in found}) >= 1000 + 6 * 3 * 9 + 2 * 3


def test_measured_for_real_and_used_by_selection():
    model, example = built(plain)
    found = sites(model, example)
    table = timetable(model, found, example, points=2, rounds=4)
    cost = latency_of(table)
    assert all(bool((call.seconds > 0).all()) for call in table.calls)
    for call in table.calls:  # a wider layer is never the faster one
        assert bool((call.seconds.diff(dim=0) >= 0).all())
        assert bool((call.seconds.diff(dim=1) >= 0).all())
    scores = {site.name: torch.rand(site.units) for site in found}
    least = float(cost({site.name: torch.arange(site.units) == 0 for site in found}))
    limit = (least + float(cost({}))) / 2
    assert cost(within(scores, cost, limit, least=1)) <= limit


def test_refusals():
    model, example = built(plain)
    with pytest.raises(InputError, match="points is 1"):
        timetable(model, (), example, points=1)
    with pytest.raises(InputError, match="'nobody'"):
        latency_of(tables.Timetable(tables.numbered(model, ()), (), 1.0))({"nobody": torch.ones(2)})
