"""The benchmark of growth: a power law is found again, and every subject runs at small sizes. Nothing is timed."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

FILE = Path(__file__).parents[1] / "benchmarks" / "growth.py"


@pytest.fixture(scope="module")
def growth():
    found = runpy.run_path(str(FILE))
    # Of all that other tests have left, it takes long.
    found["_tried"].__globals__["gc"] = SimpleNamespace(collect=int, disable=int, enable=int)
    return found


@pytest.mark.parametrize("power", [0.9, 1.0, 1.5, 2.0])
def test_an_exponent_is_found_again(growth, power):
    sizes = (10, 100, 1000, 10_000)
    found = growth["fitted"](sizes, [[3e-6 * n**power for n in sizes] for _ in range(2)])
    assert found.exponent == pytest.approx(power)
    assert found.low == pytest.approx(power)
    assert found.high == pytest.approx(power)
    assert found.last == pytest.approx(power)
    assert ("MISSED" in str(found)) == (power > 1.1)
    assert "not told" not in str(found)


def test_what_rounds_leave_open_is_said(growth):
    """At exponent 1, one round at the largest size took twice as long."""
    sizes = (10, 100, 1000)
    found = growth["fitted"](sizes, [[1, 10, 100], [1, 10, 200]])
    assert found.low < 1.1 < found.high
    assert "not told" in str(found)
    assert "MISSED" not in str(found)


def test_three_sizes_count_where_there_are_three(growth):
    assert [growth["upper"](range(n)) for n in (2, 3, 4, 5, 7)] == [2, 3, 3, 3, 4]


def test_calls_are_counted_and_their_exponent_is_that_of_the_upper_sizes(growth):
    counts = [growth["called"](lambda n=n: [abs(i) for i in range(n)]) for n in (10, 100)]
    assert counts[1] - counts[0] == 90
    found = growth["fitted"]((10, 100, 1000, 10_000), [[1, 2, 3, 4]], [5, 500, 50_000])
    assert found.calls == pytest.approx(2)
    assert "calls 2.00" in str(found)


def test_the_rows_of_a_study_cost_calls_as_many_as_they_are(growth):
    """What the seconds are too coarse to say: no function is called more often for a row when there are more."""
    counts = {}
    for size in (3000, 30_000):
        for what, run in growth["rows"](size):
            counts.setdefault(what, []).append(growth["called"](run))
    for what, (few, many) in counts.items():
        assert many <= 10.1 * few, what


def test_fixed_costs_of_small_sizes_do_not_hide_a_square(growth):
    sizes = (100, 300, 1000, 3000, 10_000)
    found = growth["fitted"](sizes, [[1 + 1e-5 * n**2 for n in sizes]] * 2)
    assert found.last > 1.9
    assert found.exponent > 1.9


def test_the_interval_is_that_of_the_rounds_slopes_by_hand(growth):
    """Slopes 1 and 3: their mean is 2, its error 1, and t(0.975) of one degree of freedom is 12.71."""
    found = growth["fitted"]((1, 10), [[1, 10], [1, 1000]])
    assert found.exponent == pytest.approx(2)
    assert (found.low, found.high) == pytest.approx((2 - 12.71, 2 + 12.71))


def test_a_round_in_which_all_took_longer_changes_nothing(growth):
    sizes = (10, 100, 1000)
    found = growth["fitted"](sizes, [[n * slower for n in sizes] for slower in (1, 7, 2)])
    assert (found.low, found.high) == pytest.approx((1, 1))


def test_of_several_tries_the_least_counts_and_of_one_there_is_no_other(growth):
    for once, wanted in ((False, growth["TRIES"]), (True, 1)):
        ran = []
        growth["seconds"](lambda ran=ran: ran.append(sum(range(10**6))), once=once)
        assert len(ran) >= wanted
        assert not once or len(ran) == 1


@pytest.mark.parametrize("name", ["scores", "layers", "parameters", "rows", "trials"])
def test_every_subject_runs(growth, name):
    found = dict(growth["figures"](name, small=True, rounds=2))
    assert found
    assert all(isinstance(each.exponent, float) for each in found.values())


def test_a_half_of_the_trials_is_left(growth, tmp_path):
    made = list(growth["trials"](6))
    bare, *ours = [what for what, _ in made]
    assert bare.startswith("bare: ")
    assert ours == ["scan at resume", "scan for a report"]


def test_a_name_that_is_none_is_refused(growth):
    with pytest.raises(SystemExit, match="everything"):
        growth["main"](["everything"])
