"""Schedules: the published curves, exact landing, monotony; shares, whole counts, marks."""

import math
from functools import partial
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sapwood.errors import InputError
from sapwood.selection.schedule import (
    SCHEDULES,
    SHARES,
    counts_of,
    exponential,
    geometric_shares,
    linear,
    marks,
    named,
    on_metric,
    once,
    polynomial,
    shares_named,
    uniform_shares,
)

FIXED = settings(derandomize=True, deadline=None, database=None, max_examples=100)
WEIGHTS = 320_700  # 784-300-200-100-50-10, all kernels
every_schedule = pytest.mark.parametrize("ramp", SCHEDULES.values(), ids=SCHEDULES)
every_shares = pytest.mark.parametrize("shares", SHARES.values(), ids=SHARES)
sparsities = st.one_of(st.floats(0, 1, exclude_max=True), st.integers(0, 99).map(lambda percent: percent / 100))
totals, cycle_counts = sparsities, st.integers(1, 40)


def due(schedule, last):
    """What a schedule asks for up to step `last`: {step: sparsity}."""
    return {step: s for step in range(last + 1) if (s := schedule(step)) is not None}


# By the step


@every_schedule
@FIXED
@given(
    begin=st.integers(0, 50), span=st.integers(0, 200), every=st.integers(1, 60), ends=st.tuples(sparsities, sparsities)
)
def test_ramps_are_monotone_and_land(ramp, begin, span, every, ends):
    initial, final = ends
    asked = due(ramp(begin, begin + span, every, final, initial=initial), begin + span + 60)
    values = list(asked.values())
    assert list(asked) == sorted({*range(begin, begin + span + 1, every), begin + span})
    assert values == sorted(values, reverse=final < initial)
    assert values[-1] == final
    assert span == 0 or values[0] == initial
    assert all(0 <= s < 1 for s in values)


@every_schedule
@FIXED
@given(begin=st.integers(0, 50), span=st.integers(1, 200), every=st.integers(1, 60), final=sparsities)
def test_without_landing_only_the_multiples_are_due_and_the_curve_is_the_same(ramp, begin, span, every, final):
    landing = due(ramp(begin, begin + span, every, final), begin + span)
    floating = due(ramp(begin, begin + span, every, final, land=False), begin + span)
    assert floating == {step: s for step, s in landing.items() if (step - begin) % every == 0}


@every_schedule
def test_nothing_is_due_outside_the_span(ramp):
    schedule = ramp(10, 20, 5, 0.8)
    assert [schedule(step) for step in (-5, 0, 5, 9, 11, 14, 16, 21, 25, 30)] == [None] * 10


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ((0.0, 0.875), {0: 0, 100: 0.237125, 200: 0.427, 500: 0.765625, 900: 0.874125, 1000: 0.875}),
        ((0.5, 0.9), {0: 0.5, 250: 0.73125, 500: 0.85, 750: 0.89375, 1000: 0.9}),
    ],
)
def test_polynomial_by_hand(ends, expected):
    schedule = polynomial(0, 1000, 50, ends[1], initial=ends[0])
    assert {step: schedule(step) for step in expected} == pytest.approx(expected, abs=1e-15)


def test_polynomial_counts_from_its_begin():
    assert due(polynomial(2_000, 2_010, 5, 0.8, power=2.0), 3_000) == pytest.approx({2_000: 0, 2_005: 0.6, 2_010: 0.8})


def test_the_toolkit_stops_short_of_the_final_sparsity():
    """The magnitude baseline of the 2024 paper: 79.874 % instead of 80."""
    asked = due(polynomial(0, 3376, 100, 0.8, land=False), 4000)
    assert max(asked) == 3300
    assert asked[3300] == pytest.approx(0.8 - 0.8 * (76 / 3376) ** 3, abs=1e-15)
    assert 0.79999 < asked[3300] < 0.8
    kernels = (235_200, 60_000, 20_000, 5_000)
    assert [n - round(n * (1 - asked[3300])) for n in kernels] == [188_158, 47_999, 16_000, 4_000]
    assert due(polynomial(0, 3376, 100, 0.8), 4000) == asked | {3376: 0.8}


def test_linear_and_exponential_by_hand():
    assert due(linear(0, 4, 1, 0.8), 9) == pytest.approx({0: 0, 1: 0.2, 2: 0.4, 3: 0.6, 4: 0.8})
    assert due(exponential(0, 4, 2, 0.99), 9) == pytest.approx({0: 0, 2: 0.9, 4: 0.99})
    assert due(exponential(0, 2, 1, 0.92, initial=0.5), 9) == pytest.approx({0: 0.5, 1: 0.8, 2: 0.92})


def test_rounding_does_not_step_over_the_final_sparsity():
    """A climb of two units in the last place, whose curve overshoots on the way unless clamped."""
    initial, final = 0.13436424411240122, 0.13436424411240128
    assert max(due(exponential(0, 10, 1, final, initial=initial), 10).values()) == final


def test_once():
    assert due(once(7, 0.9), 20) == {7: 0.9}


@every_schedule
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"final": 1.0}, "final is 1.0"),
        ({"final": -0.1}, "final is -0.1"),
        ({"final": math.nan}, "final is nan"),
        ({"initial": 1.0}, "initial is 1.0"),
        ({"initial": math.nan}, "initial is nan"),
        ({"begin": -1}, "begin is -1"),
        ({"end": 9}, "begin is 10 and end is 9"),
        ({"every": 0}, "every is 0"),
    ],
)
def test_ramps_refuse(ramp, change, message):
    with pytest.raises(InputError, match=message):
        ramp(**{"begin": 10, "end": 20, "every": 5, "final": 0.8, "initial": 0.0} | change)


# In cycles: how much


@every_shares
@FIXED
@given(total=totals, cycles=cycle_counts)
def test_shares_sum_to_the_total_and_never_grow(shares, total, cycles):
    found = shares(total, cycles)
    assert len(found) == cycles
    assert math.fsum(found) == pytest.approx(total, rel=1e-14, abs=1e-300)
    assert list(found) == sorted(found, reverse=True)


@FIXED
@given(total=st.floats(1e-3, 0.999), cycles=st.integers(2, 20), base=st.floats(0.05, 1))
def test_geometric_shares_shrink_by_the_base(total, cycles, base):
    found = geometric_shares(total, cycles, base)
    assert [later / earlier for earlier, later in pairwise(found)] == pytest.approx([base] * (cycles - 1), rel=1e-12)


@pytest.mark.parametrize(
    ("total", "cycles", "percent"),
    [
        (0.80, 5, (23.7982, 19.0386, 15.2308, 12.1847, 9.7477)),
        (0.85, 5, (25.2856, 20.2285, 16.1828, 12.9462, 10.3570)),
        (0.80, 10, (17.9246, 14.3397, 11.4718, 9.1774, 7.3419, 5.8735, 4.6988, 3.7591, 3.0073, 2.4058)),
        (0.85, 10, (19.0449, 15.2359, 12.1888, 9.7510, 7.8008, 6.2406, 4.9925, 3.9940, 3.1952, 2.5562)),
    ],
)
def test_the_shares_of_the_2024_paper(total, cycles, percent):
    assert [100 * share for share in geometric_shares(total, cycles)] == pytest.approx(percent, abs=6e-5)


ZEROS = {  # of 320 700 weights: total, cycles planned, cycles done, zeros
    "G1": (0.80, 5, 4, 225_297),
    "G2": (0.85, 5, 4, 239_378),
    "G3": (0.80, 5, 4, 225_297),
    "G4": (0.85, 5, 5, 272_592),
    "G5": (0.80, 10, 8, 239_196),
    "G6": (0.85, 10, 8, 254_146),
    "G7": (0.80, 10, 9, 248_840),
    "G8": (0.85, 10, 9, 264_393),
}


@pytest.mark.parametrize(("total", "cycles", "done", "zeros"), ZEROS.values(), ids=ZEROS)
def test_the_zeros_of_the_2024_paper(total, cycles, done, zeros):
    assert sum(counts_of(geometric_shares(total, cycles), WEIGHTS)[:done]) == zeros


def test_uniform_shares_are_equal():
    assert uniform_shares(0.8, 10) == pytest.approx((0.08,) * 10)
    assert counts_of(uniform_shares(0.8, 10), WEIGHTS) == (25_656,) * 10


def test_counts_of_rounds_down():
    assert counts_of(geometric_shares(0.5, 2), 16) == (4, 3)  # 4.44, 3.56
    assert counts_of((0.0, 0.3, 0.31), 9) == (0, 2, 2)


@pytest.mark.parametrize(("share", "size", "count"), [(0.25, 16, 4), (0.29, 100, 29), (0.57, 100, 57), (0.07, 100, 7)])
def test_counts_of_ignores_dust(share, size, count):
    assert counts_of((share,), size) == (count,)


def test_counts_of_ignores_the_dust_of_shares():
    assert counts_of(geometric_shares(0.7, 3, base=0.5), 10) == (4, 2, 1)
    assert counts_of(geometric_shares(0.93, 5, base=0.5), 100) == (48, 24, 12, 6, 3)


@FIXED
@given(parts=st.integers(1, 10**6), data=st.data(), times=st.integers(1, 1000))
def test_counts_of_a_fraction_that_divides_is_exact(parts, data, times):
    """(a/b) of b c is a c, and of one entry less it is below that."""
    part = data.draw(st.integers(1, parts))
    assert counts_of((part / parts,), parts * times) == (part * times,)
    if parts * times > 1:
        assert counts_of((part / parts,), parts * times - 1)[0] < part * times


@every_shares
@FIXED
@given(total=totals, cycles=cycle_counts, size=st.integers(1, 10**7))
def test_counts_of_fall_short_of_the_total_by_less_than_one_a_cycle(shares, total, cycles, size):
    removed = sum(counts_of(shares(total, cycles), size))
    assert total * size * (1 + 1e-14) - cycles - 1e-6 < removed <= total * size * (1 + 1e-14)


@every_shares
@pytest.mark.parametrize(
    ("total", "cycles", "message"),
    [(1.0, 5, "total is 1"), (-0.1, 5, "total is -0.1"), (math.nan, 5, "total is nan"), (0.8, 0, "cycles is 0")],
)
def test_shares_refuse(shares, total, cycles, message):
    with pytest.raises(InputError, match=message):
        shares(total, cycles)


@pytest.mark.parametrize(
    ("shares", "size", "message"),
    [((0.5,), 0, "size is 0"), ((-0.1,), 9, "is -0.1"), ((math.nan,), 9, "is nan"), ((0.6, 0.6), 10, "12 of 10")],
)
def test_counts_of_refuses(shares, size, message):
    with pytest.raises(InputError, match=message):
        counts_of(shares, size)


# In cycles: when


def test_the_marks_of_the_2024_paper():
    assert marks(0.80, 0.98, 5) == pytest.approx((0.800, 0.836, 0.872, 0.908, 0.944), abs=1e-12)
    assert marks(0.80, 0.98, 10)[-2:] == pytest.approx((0.944, 0.962), abs=1e-12)
    assert marks(0.5, 0.9, 1) == (0.5,)


def test_one_cycle_per_call_and_none_after_the_last():
    """An accuracy that jumps over two marks prunes twice, one call apart; at a mark exactly it is due."""
    is_due, done, log = on_metric((0.5, 0.6, 0.7)), 0, []
    for accuracy in (0.4, 0.5, 0.55, 0.8, 0.4, 0.8, 0.9, 1.0):
        log.append(is_due(accuracy, done))
        done += log[-1]
    assert log == [False, True, False, True, False, True, False, False]


def test_asking_changes_nothing():
    is_due = on_metric(marks(0.8, 0.98, 5))
    assert [is_due(0.81, 0) for _ in range(3)] == [True] * 3
    assert not is_due(0.81, 1)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (partial(once, -1, 0.5), "at is -1"),
        (partial(once, 3, 1.0), "sparsity is 1.0"),
        (partial(once, 3, math.nan), "sparsity is nan"),
        *((partial(polynomial, 0, 10, 1, 0.5, power=bad), "power is") for bad in (0.0, -1.0, math.nan, math.inf)),
        *((partial(geometric_shares, 0.8, 5, bad), "base is") for bad in (0.0, -0.5, 1.01, math.nan)),
        (partial(marks, 0.8, 0.9, 0), "cycles is 0"),
        (partial(marks, 0.9, 0.8, 5), "marks run from 0.9 to 0.8"),
        (partial(marks, math.nan, 0.8, 5), "marks run from nan"),
        (partial(marks, 0.8, math.inf, 5), "to inf"),
        (partial(on_metric, ()), "at least one"),
        (partial(on_metric, (0.5, math.nan)), "no NaN"),
        (partial(on_metric((0.5,)), math.nan, 0), "metric is nan"),
        (partial(on_metric((0.5,)), 0.9, -1), "after -1 cycles"),
    ],
)
def test_refused(ask, message):
    with pytest.raises(InputError, match=message):
        ask()


def test_by_name():
    assert [named(name) for name in SCHEDULES] == [polynomial, linear, exponential]
    assert [shares_named(name) for name in SHARES] == [geometric_shares, uniform_shares]
    with pytest.raises(InputError, match="unknown schedule 'lineal'; did you mean 'linear'"):
        named("lineal")
    with pytest.raises(InputError, match="unknown shares 'geometry'; did you mean 'geometric'"):
        shares_named("geometry")
