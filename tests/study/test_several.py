"""Several comparisons: p values, Holm's correction and what so few seeds can see, against other ways to them."""

import numpy as np
import pytest
from scipy import stats

from sapwood.study.grid import NOTHING
from sapwood.study.several import ALPHA, Family, detectable, holm, left, p_value, table
from sapwood.study.table import summary


@pytest.mark.parametrize("values", [[1.7, 2.21, 1.17], [0.3, -0.1, 0.4, 0.2, 0.9], [-5.0, 5.0], [1e-3, 2e-3, 5e-3]])
def test_p_is_that_of_a_paired_test_and_agrees_with_the_interval(values):
    assert p_value(values) == pytest.approx(stats.ttest_rel(values, [0.0] * len(values)).pvalue)
    found = summary(values)
    assert (p_value(values) < ALPHA) == (found.low > 0 or found.high < 0)


def test_without_spread_or_seeds_p_says_what_can_be_said():
    assert p_value([2.0, 2.0]) == 0
    assert p_value([0.0, 0.0]) == 1
    assert p_value([2.0]) is None
    assert p_value([]) is None


def test_holm_multiplies_the_smallest_by_all_and_never_goes_down():
    assert holm({"a": 0.04, "b": 0.01, "c": 0.03}) == pytest.approx({"a": 0.06, "b": 0.03, "c": 0.06})
    assert holm({"a": 0.6, "b": 0.9}) == {"a": 1.0, "b": 1.0}
    assert holm({}) == {}


def test_holm_is_right_in_95_of_100_families_of_rows_that_are_alike():
    rng = np.random.default_rng(0)
    wrong = sum(
        min(holm({str(i): stats.ttest_1samp(x, 0).pvalue for i, x in enumerate(rng.normal(size=(12, 5)))}).values())
        < ALPHA
        for _ in range(400)
    )
    assert 5 <= wrong <= 35


@pytest.mark.parametrize("n", [2, 3, 5])
def test_what_can_be_seen_is_found_in_four_of_five_draws(n):
    sample = list(range(n))
    shift = detectable(sample) / np.std(sample, ddof=1)
    draws = np.random.default_rng(0).normal(shift, 1, (20_000, n))
    assert (stats.ttest_1samp(draws, 0, axis=1).pvalue < ALPHA).mean() == pytest.approx(0.8, abs=0.02)
    assert detectable([2.0, 2.0]) is None
    assert detectable([2.0]) is None


def test_a_family_in_a_table():
    sure = {"a": {0: 1.0, 1: 1.01, 2: 0.99}, "b": {0: 1.0, 1: -1.0, 2: 0.1}}
    both, none = table(lambda rows: [Family("which", sure), Family("nothing", {})])([]).lines
    assert both[:5] == ("which", "2", "3", "1", "a")
    assert left(Family("which", sure)) == ["a"]
    assert float(both[5]) < ALPHA
    assert both[6].startswith("0.0 to ")
    assert none == ("nothing", "0", NOTHING, "0", NOTHING, NOTHING, NOTHING)
