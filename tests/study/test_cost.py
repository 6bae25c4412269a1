"""Cost: what is timed is a prune, slopes are what they should be for known costs, and files come back as written."""

import math

import pytest
import torch

from sapwood.errors import InputError
from sapwood.study import cost
from sapwood.study.cost import (
    EVERYWHERE,
    ONE_LAYER,
    SCOPES,
    SHARE,
    STEPS,
    Cost,
    exponent,
    prune_cost,
    read,
    scene,
    write,
)
from sapwood.study.cost_report import ratios

PRUNES = ("Neurons", "Neurons & Weights", "sort all weights")


@pytest.fixture(scope="module")
def measured():
    """Real costs, quickly."""
    return prune_cost((10**4, 10**5, 10**6), rounds=3)


def grows(power, sizes=(10**5, 10**6, 10**7), metric="seconds"):
    return [Cost("it", size, metric, 3e-9 * size**power) for size in sizes]


@pytest.mark.parametrize("kind", PRUNES)
def test_every_step_removes_its_share(kind):
    before = scene(12_345)
    keep = STEPS[kind](before)
    shapes = {name: p.shape for name, p in before.model.named_parameters()}
    assert {name: k.shape for name, k in keep.items()} == shapes
    assert sum(int((~k).sum()) for k in keep.values()) == round(0.24 * before.weights)


def test_selecting_and_sorting_choose_the_same_weights():
    before = scene(40_000)
    one, other = STEPS["Neurons & Weights"](before), STEPS["sort all weights"](before)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_neurons_go_whole_and_least_active_first():
    before = scene(40_000)
    keep = STEPS["Neurons"](before)
    counts = torch.cat([seen["active"] for seen in before.seen.values()])
    gone = torch.cat([~k.any(1) for k in keep.values()])
    cut = torch.cat([k.any(1) & ~k.all(1) for k in keep.values()])
    assert int(cut.sum()) <= 1
    assert int(gone.sum()) == math.floor(0.24 * before.weights / 100)
    assert counts[gone].max() <= counts[~gone].min()


def test_the_neurons_are_sorted_and_nothing_else():
    before = scene(40_000)
    counts = torch.cat([seen["active"] for seen in before.seen.values()])
    ordered = counts[STEPS["sort the neurons"](before)]
    assert len(ordered) == 400
    assert bool((ordered.diff() >= 0).all())


def test_every_step_is_timed_at_every_size(measured):
    timed = {(row.kind, row.weights) for row in measured if row.metric == "seconds" and row.value > 0}
    assert timed == {(kind, weights) for kind in STEPS for weights in (10_000, 99_856, 1_000_000)}


def test_sorting_all_weights_takes_longer_than_selecting_and_longer_than_sorting_neurons(measured):
    seconds = {row.kind: row.value for row in measured if (row.weights, row.metric) == (10**6, "seconds")}
    assert seconds["sort the neurons"] < seconds["Neurons & Weights"] < seconds["sort all weights"]


def test_bytes_hold_at_least_what_must_be_there(measured):
    found = {row.kind: row.value for row in measured if row.metric == "bytes"}
    if not found:
        pytest.skip("this system does not tell a process's peak")
    assert all(row.weights == 10**6 for row in measured if row.metric == "bytes")
    assert found["Neurons & Weights"] >= 5e6  # scores of 4 bytes and masks of 1
    assert found["sort all weights"] >= 13e6  # and places of 8
    assert found["sort the neurons"] < 1e6


def test_bytes_are_left_out_where_they_cannot_be_told(monkeypatch, tmp_path):
    monkeypatch.setattr(cost, "PROCESS", tmp_path)
    monkeypatch.setattr(cost, "STEPS", {"nothing": lambda scene: None})
    assert [row.metric for row in prune_cost((10**6,), rounds=1)] == ["seconds"]


@pytest.mark.parametrize(("patience", "rounds"), [(1e-9, 1), (1e9, 3)])
def test_what_takes_long_is_not_repeated(monkeypatch, patience, rounds):
    calls = []
    monkeypatch.setattr(cost, "PATIENCE", patience)
    prune_cost((10**6,), rounds=3, steps={"it": calls.append})
    assert len(calls) == rounds


def test_real_costs_have_a_slope(measured):
    found = exponent(measured)
    assert set(found) == set(STEPS)
    assert found["sort all weights"].sizes == 2
    assert 0.7 < found["sort all weights"].slope < 1.5


@pytest.mark.parametrize("power", [0.5, 1, 2])
def test_the_slope_of_a_power_is_its_exponent(power):
    found = exponent(grows(power))["it"]
    assert (found.slope, found.low, found.high) == pytest.approx((power,) * 3, abs=1e-6)
    assert found.sizes == 3


def test_the_interval_by_hand():
    # logs of W: 0 1 2 (above log 10^5), of the seconds: 0 2 1. Slope 1/2, residuals -1/2 1 -1/2, their squares 1.5;
    # standard error sqrt(1.5 / (3 - 2) / 2) = 0.866025, t(0.975, 1) = 12.706205, half = 11.003896.
    rows = [Cost("it", w, "seconds", math.exp(s)) for w, s in zip((10**5, 271_828, 738_906), (0, 2, 1), strict=True)]
    found = exponent(rows)["it"]
    assert (found.slope, found.low, found.high) == pytest.approx((0.5, -10.503896, 11.503896), abs=1e-4)  # W is whole


def test_small_sizes_do_not_count():
    assert exponent([Cost("it", 10**4, "seconds", 7.0), *grows(1.5)])["it"].sizes == 3
    assert exponent([Cost("it", 10**5, "bytes", 7.0), *grows(1, metric="bytes")], "bytes")["it"].sizes == 2
    assert exponent(grows(1, (10**5, 10**6)))["it"][1:] == (None, None, 2)


@pytest.mark.parametrize("rows", [[], grows(1, (10**4, 10**6)), [*grows(1), Cost("other", 10**6, "seconds", 1.0)]])
def test_too_few_sizes_are_refused(rows):
    with pytest.raises(InputError, match="too few sizes for a slope"):
        exponent(rows)


def test_an_unknown_metric_is_refused():
    with pytest.raises(InputError, match="unknown metric 'second'; did you mean 'seconds'"):
        exponent(grows(1), "second")


@pytest.mark.parametrize(("sizes", "rounds"), [((), 5), ((10**5, 9_999), 5), ((10**5,), 0)])
def test_sizes_that_show_nothing_are_refused(sizes, rounds):
    with pytest.raises(InputError, match=r"sizes are .* and rounds=\d; give sizes of 10,000 or more"):
        prune_cost(sizes, rounds)


def test_threads_are_given_back_also_after_a_failure(monkeypatch):
    seen = []

    def fail(_):
        seen.append(torch.get_num_threads())
        raise ZeroDivisionError

    monkeypatch.setattr(cost, "STEPS", {"it": fail})
    torch.set_num_threads(2)
    try:
        with pytest.raises(ZeroDivisionError):
            prune_cost((10**4,), rounds=1)
        assert (seen, torch.get_num_threads()) == ([1], 2)
    finally:
        torch.set_num_threads(1)


def test_the_random_generator_is_left_alone():
    before = torch.get_rng_state()
    scene(10**4)
    assert torch.equal(torch.get_rng_state(), before)


def test_costs_come_back_as_they_were_written(tmp_path, measured):
    write(measured, tmp_path / "cost.csv")
    assert read(tmp_path / "cost.csv") == measured
    assert [path.name for path in tmp_path.iterdir()] == ["cost.csv"]
    assert (tmp_path / "cost.csv").read_text().splitlines()[0] == "kind,weights,metric,value"


@pytest.mark.parametrize("text", [None, "", "kind,weights\n", "kind,weights,metric,value\nit,many,seconds,1\n"])
def test_a_file_that_holds_no_costs_is_refused(tmp_path, text):
    if text is not None:
        (tmp_path / "cost.csv").write_text(text)
    with pytest.raises(InputError, match=r"cost\.csv has no costs that can be read"):
        read(tmp_path / "cost.csv")


def test_a_local_cycle_looks_at_one_layer_and_takes_its_share_of_it():
    before = scene(10**4)
    size = before.weights // len(before.seen)
    one = SCOPES[ONE_LAYER](before)
    assert {name: int((~keep).sum()) for name, keep in one.items()} == {"0.weight": round(SHARE * size)}
    every = SCOPES["layer by layer"](before)
    assert [list(keep) for keep in every] == [[f"{layer}.weight"] for layer in before.seen]
    assert torch.equal(every[0]["0.weight"], one["0.weight"])
    assert set(SCOPES[EVERYWHERE](before)) == {f"{layer}.weight" for layer in before.seen}


def test_ratios_are_those_at_the_largest_size_that_both_have():
    costs = [("a", 10, "seconds", 1.0), ("b", 10, "seconds", 2.0), ("a", 99, "seconds", 3.0), ("b", 99, "seconds", 4.0),
             ("a", 1000, "seconds", 9.0), ("a", 10, "bytes", 5.0), ("b", 10, "bytes", 2.0)]  # fmt: skip
    rows = [{"row": "cost", "split": k, "weights": w, "metric": m, "value": v} for k, w, m, v in costs]
    assert ratios(rows, "a", "b") == {"seconds": 0.75, "bytes": 2.5}
    assert ratios([], "a", "b") == {}
