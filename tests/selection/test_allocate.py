"""Allocation: exact totals, the cap, published reference densities, whole counts."""

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sapwood.errors import InputError
from sapwood.selection.allocate import ALLOCATIONS, counts, er, erk, named, uniform

FIXED = settings(derandomize=True, deadline=None, database=None, max_examples=200)
LENET_300 = {"fc1": (300, 784), "fc2": (100, 300), "fc3": (10, 100)}
LENET_5 = {"conv1": (20, 1, 5, 5), "conv2": (50, 20, 5, 5), "fc1": (500, 800), "fc2": (10, 500)}
REFERENCE = {  # LeNet-300-100, by sparsity
    0.50: (0.434099, 1, 1),
    0.80: (0.162241, 0.469362, 1),
    0.90: (0.079568, 0.230189, 1),
    0.95: (0.038484, 0.111334, 0.918507),
    0.98: (0.015394, 0.044534, 0.367403),
    0.99: (0.007697, 0.022267, 0.183701),
}

dims = st.integers(1, 300)
shape = st.one_of(st.tuples(dims, dims), st.tuples(dims, dims, st.integers(1, 7), st.integers(1, 7)))
networks = st.lists(shape, min_size=1, max_size=6).map(lambda shapes: {f"l{i}": s for i, s in enumerate(shapes)})
densities = st.floats(1e-6, 1)


def sizes(shapes):
    return {name: math.prod(s) for name, s in shapes.items()}


def kept(shapes, found):
    return math.fsum(found[name] * size for name, size in sizes(shapes).items())


@pytest.mark.parametrize("rule", ALLOCATIONS.values(), ids=ALLOCATIONS)
@FIXED
@given(shapes=networks, density=densities)
def test_the_total_is_exact_and_no_density_exceeds_one(rule, shapes, density):
    found = rule(shapes, density)
    assert list(found) == list(shapes)
    assert kept(shapes, found) == pytest.approx(density * sum(sizes(shapes).values()), rel=1e-12, abs=0)
    assert all(0 < d <= 1 for d in found.values())


@pytest.mark.parametrize("rule", ALLOCATIONS.values(), ids=ALLOCATIONS)
@FIXED
@given(shapes=networks, densities=st.tuples(densities, densities))
def test_more_density_never_means_less_for_a_tensor(rule, shapes, densities):
    low, high = (rule(shapes, density) for density in sorted(densities))
    assert all(low[name] <= high[name] * (1 + 1e-12) for name in shapes)


@pytest.mark.parametrize("rule", ALLOCATIONS.values(), ids=ALLOCATIONS)
@FIXED
@given(shapes=networks)
def test_density_one_keeps_everything(rule, shapes):
    assert rule(shapes, 1.0) == pytest.approx(dict.fromkeys(shapes, 1.0), rel=1e-12)


@FIXED
@given(shapes=networks, density=densities, power=st.floats(0, 60))
def test_erk_caps_only_what_its_ratio_puts_above_one(shapes, density, power):
    """Below the cap all share one scale; what is capped would exceed 1 at that scale."""
    found = erk(shapes, density, power)
    assert kept(shapes, found) == pytest.approx(density * sum(sizes(shapes).values()), rel=1e-12, abs=0)
    logs = {name: power * math.log(sum(s) / math.prod(s)) for name, s in shapes.items()}
    scales = {name: math.log(d) - logs[name] for name, d in found.items() if 0 < d < 1}
    assume(scales)
    scale = next(iter(scales.values()))
    assert list(scales.values()) == pytest.approx([scale] * len(scales), abs=1e-9)
    assert all(scale + logs[name] >= -1e-9 for name, d in found.items() if d == 1)


@pytest.mark.parametrize("sparsity", REFERENCE)
@pytest.mark.parametrize("rule", [er, erk])
def test_lenet_300_100_reference_table(rule, sparsity):
    found = rule(LENET_300, 1 - sparsity)
    assert tuple(found.values()) == pytest.approx(REFERENCE[sparsity], abs=6e-7)
    assert kept(LENET_300, found) == pytest.approx((1 - sparsity) * 266_200, rel=1e-12)


def test_lenet_5_caffe_reference():
    assert tuple(erk(LENET_5, 0.1).values()) == pytest.approx((1, 0.087072, 0.088433, 1), abs=6e-7)


def test_er_leaves_the_kernel_positions_out_and_erk_counts_them():
    """1x1 against 3x3, both 10 to 10 channels: ER is blind to the kernel, ERK has ratios 22/100 and 26/900."""
    shapes = {"point": (10, 10, 1, 1), "cube": (10, 10, 3, 3)}
    assert er(shapes, 0.01) == pytest.approx({"point": 0.01, "cube": 0.01}, rel=1e-12)
    found = erk(shapes, 0.01)  # c (22 + 26) = 10
    assert found == pytest.approx({"point": 10 / 48 * 0.22, "cube": 10 / 48 * 26 / 900}, rel=1e-12)


def test_power_zero_is_uniform_and_a_high_power_fills_the_smallest_first():
    assert erk(LENET_300, 0.1, power=0.0) == pytest.approx(uniform(LENET_300, 0.1), rel=1e-12)
    found = erk(LENET_300, 0.1, power=1000.0)  # 26 620 = 1 000 + 25 620 of fc2's 30 000
    assert tuple(found.values()) == pytest.approx((0, 25_620 / 30_000, 1), abs=1e-9)


def test_tensors_and_shapes_say_the_same():
    assert erk({"a": torch.zeros(4, 3, 2, 2), "b": torch.Size((5, 4))}, 0.3) == erk(
        {"a": (4, 3, 2, 2), "b": (5, 4)}, 0.3
    )


def test_uniform_takes_vectors_too():
    assert uniform({"weight": (3, 4), "bias": (3,)}, 0.25) == {"weight": 0.25, "bias": 0.25}


@pytest.mark.parametrize("rule", ALLOCATIONS.values(), ids=ALLOCATIONS)
@pytest.mark.parametrize("density", [math.nan, 0.0, -0.1, 1.0001, math.inf])
def test_a_density_outside_its_range_is_refused(rule, density):
    with pytest.raises(InputError, match="density is"):
        rule(LENET_300, density)


@pytest.mark.parametrize("rule", ALLOCATIONS.values(), ids=ALLOCATIONS)
def test_nothing_to_allocate_to_is_refused(rule):
    with pytest.raises(InputError, match="no shapes"):
        rule({}, 0.5)
    with pytest.raises(InputError, match="'b' has shape"):
        rule({"a": (3, 4), "b": (3, 0)}, 0.5)


@pytest.mark.parametrize("rule", [er, erk])
def test_a_vector_has_no_inputs_and_outputs(rule):
    with pytest.raises(InputError, match=r"'bias' has shape \(3,\)"):
        rule({"weight": (3, 4), "bias": (3,)}, 0.5)


@pytest.mark.parametrize("power", [math.nan, math.inf, -1.0])
def test_a_power_that_is_no_power_is_refused(power):
    with pytest.raises(InputError, match="power is"):
        erk(LENET_300, 0.5, power=power)


@FIXED
@given(shapes=networks, density=densities, rule=st.sampled_from(list(ALLOCATIONS.values())))
def test_counts_sum_to_the_total_and_differ_from_the_quota_by_less_than_one(shapes, density, rule):
    found = rule(shapes, density)
    whole = counts(shapes, found)
    assert sum(whole.values()) == round(kept(shapes, found))
    for name, size in sizes(shapes).items():
        assert 0 <= whole[name] <= size
        assert abs(whole[name] - found[name] * size) < 1


@FIXED
@given(shapes=networks, density=densities)
def test_counts_reach_any_total_between_all_down_and_all_up(shapes, density):
    found = uniform(shapes, density)
    quotas = [density * size for size in sizes(shapes).values()]
    low, high = sum(map(math.floor, quotas)), sum(map(math.ceil, quotas))
    for total in range(low, high + 1):
        assert sum(counts(shapes, found, total).values()) == total
    for total in (low - 1, high + 1):
        with pytest.raises(InputError, match=f"total is {total}"):
            counts(shapes, found, total)


def test_counts_by_hand():
    """Quotas 2.5, 1.25, 0.75: rounded down 2, 1, 0; the largest fraction is c's, then a's."""
    shapes, found = {"a": (2, 5), "b": (5, 1), "c": (3, 1)}, {"a": 0.25, "b": 0.25, "c": 0.25}
    assert counts(shapes, found, 3) == {"a": 2, "b": 1, "c": 0}
    assert counts(shapes, found, 4) == {"a": 2, "b": 1, "c": 1}
    assert counts(shapes, found) == {"a": 2, "b": 1, "c": 1}  # 4.5, half to even
    assert counts(shapes, found, 5) == {"a": 3, "b": 1, "c": 1}
    assert counts(shapes, found, 6) == {"a": 3, "b": 2, "c": 1}


def test_ties_in_counts_go_to_the_first():
    assert counts({"a": (1, 3), "b": (3, 1)}, {"a": 0.5, "b": 0.5}) == {"a": 2, "b": 1}
    assert counts({"b": (3, 1), "a": (1, 3)}, {"a": 0.5, "b": 0.5}) == {"b": 2, "a": 1}


def test_a_dense_tensor_stays_whole_and_an_empty_one_empty():
    shapes = {"dense": (4, 5), "half": (3, 3), "none": (7, 1)}
    assert counts(shapes, {"dense": 1, "half": 0.5, "none": 0}, 25) == {"dense": 20, "half": 5, "none": 0}


def test_lenet_300_100_counts_at_a_tenth():
    whole = counts(LENET_300, erk(LENET_300, 0.1), 26_620)
    assert sum(whole.values()) == 26_620
    assert whole == {"fc1": 18_714, "fc2": 6_906, "fc3": 1_000}


@pytest.mark.parametrize(
    ("given_densities", "message"),
    [
        ({"a": 0.5}, "'b' has no density"),
        ({"a": 0.5, "b": 0.5, "bb": 0.5}, "unknown tensor in densities 'bb'; did you mean 'b'"),
        ({"a": 0.5, "b": math.nan}, "the density of 'b' is nan"),
        ({"a": 1.5, "b": 0.5}, "the density of 'a' is 1.5"),
        ({"a": -0.5, "b": 0.5}, "the density of 'a' is -0.5"),
    ],
)
def test_densities_that_do_not_fit_the_shapes_are_refused(given_densities, message):
    with pytest.raises(InputError, match=message):
        counts({"a": (2, 5), "b": (5, 1)}, given_densities)


def test_allocations_by_name():
    assert [named(name) for name in ("uniform", "er", "erk")] == [uniform, er, erk]
    with pytest.raises(InputError, match="unknown allocation 'erkk'; did you mean 'erk'"):
        named("erkk")
