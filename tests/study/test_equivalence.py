"""Equivalence: two one-sided tests against scipy's and by hand, what is told of families, and how claims stand."""

import math

import numpy as np
import pytest
from scipy import stats

from sapwood.errors import InputError
from sapwood.study.equivalence import Told, Within, as_good, in_words, no_worse, question, table, told
from sapwood.study.grid import MINUS
from sapwood.study.several import ALPHA, detectable, holm, p_value
from sapwood.study.table import Summary

SETS = ([0.1, -0.2, 0.3, 0.05, -0.1], [0.6, 0.7, 0.9], [-0.4, 0.5], [1e-3, 2e-3, 5e-3])
CLOSE = {0: 0.1, 1: -0.1, 2: 0.05, 3: -0.05, 4: 0.0}
ABOVE = {0: 1.0, 1: 1.1, 2: 0.9, 3: 1.05, 4: 0.95}
SLIGHTLY = {0: 0.2, 1: 0.25, 2: 0.2, 3: 0.15, 4: 0.2}
WIDE = {0: 3.0, 1: -3.0, 2: 2.0, 3: -2.0, 4: 0.5}


@pytest.mark.parametrize("values", SETS)
@pytest.mark.parametrize("margin", [0.25, 0.5, 2.0])
def test_p_is_the_larger_of_the_two_one_sided_paired_tests(values, margin):
    zero = [0.0] * len(values)
    up = stats.ttest_rel(values, [-margin] * len(values), alternative="greater").pvalue
    down = stats.ttest_rel(values, [margin] * len(values), alternative="less").pvalue
    assert no_worse(values, margin) == pytest.approx(up, rel=1e-12)
    assert as_good(values, margin) == pytest.approx(max(up, down), rel=1e-12)
    low, high = stats.ttest_rel(values, zero).confidence_interval(0.9)
    assert (as_good(values, margin) < 0.05) == (-margin < low <= high < margin)


def test_a_worked_example():
    """Mean 0, s = 1, n = 4, margin 1: t = ± 2 with 3 degrees of freedom, whose distribution has a closed form.

    P(T > t) = 1/2 - (atan(x) + x / (1 + x²)) / pi, with x = t / sqrt(3).
    """
    root = math.sqrt(0.75)
    x = 2 / math.sqrt(3)
    by_hand = 0.5 - (math.atan(x) + x / (1 + x * x)) / math.pi
    assert as_good([root, root, -root, -root], 1.0) == pytest.approx(by_hand, rel=1e-12)
    assert by_hand == pytest.approx(0.0697, abs=5e-5)


def test_of_alike_seeds_and_of_one_it_says_what_can_be_said():
    assert as_good([0.2, 0.2], 0.5) == 0
    assert as_good([0.5, 0.5], 0.5) == 1
    assert no_worse([0.7, 0.7], 0.5) == 0
    assert as_good([0.2, 0.2 + 1e-16, 0.2], 0.5) == pytest.approx(0, abs=1e-12)
    assert as_good([0.2], 0.5) is None
    assert no_worse([], 0.5) is None


@pytest.mark.parametrize("margin", [0.0, -0.5, math.inf, math.nan])
def test_a_margin_is_a_number_above_0(margin):
    with pytest.raises(InputError, match="margin is"):
        as_good([0.1, 0.2], margin)


def test_what_lies_at_the_margin_is_called_equal_in_5_of_100_cases():
    draws = np.random.default_rng(0).normal(0.5, 0.3, (2_000, 30))
    wrong = sum(as_good(each, 0.5) < ALPHA for each in draws)
    assert 70 <= wrong <= 130


def test_all_three_tests_are_corrected_for_the_family():
    pairs = {"close": CLOSE, "above": ABOVE, "wide": WIDE, "alone": {0: 1.0}}
    found = told(pairs, 0.5)
    assert list(found) == ["close", "above", "wide"]
    known = {name: list(pairs[name].values()) for name in found}
    for what, test in {
        "differs": p_value, "no_worse": lambda seen: no_worse(seen, 0.5), "alike": lambda seen: as_good(seen, 0.5),
    }.items():  # fmt: skip
        plain = holm({name: test(seen) for name, seen in known.items()})
        assert {name: getattr(each, what) for name, each in found.items()} == plain
    assert found["wide"].seen == detectable(known["wide"], alpha=ALPHA / 3) > detectable(known["wide"])


def test_words():
    words = {name: in_words(each, 0.5) for name, each in
             told({"close": CLOSE, "above": ABOVE, "slightly": SLIGHTLY, "wide": WIDE}, 0.5).items()}  # fmt: skip
    assert words["close"] == "as good as, within 0.5 points"
    assert words["above"] == "better"
    assert words["slightly"] == "better by less than 0.5 points"
    seen = detectable(WIDE.values(), alpha=ALPHA / 4)
    assert words["wide"] == f"cannot be told apart; a difference of {seen:.2g} points would have been seen"
    turned = told({"a": {seed: -each for seed, each in ABOVE.items()}}, 0.5)["a"]
    assert in_words(turned, 0.5, "longer", "shorter", "epochs") == "shorter"
    assert in_words(told({"close": CLOSE}, 1.0)["close"], 1.0) == "as good as, within 1 point"
    same = Told(Summary(0.0, 0.0, 0.0, 2), 1.0, 1.0, 1.0, None)
    assert in_words(same, 0.5) == "cannot be told apart"


CLOSER = {seed: each / 2 for seed, each in CLOSE.items()}
LESS = {seed: -each for seed, each in ABOVE.items()}


@pytest.mark.parametrize(
    ("claimed", "pairs", "stands"),
    [
        ("alike", [CLOSE, CLOSER], "holds"),
        ("alike", [CLOSE, WIDE, WIDE], "holds in part"),
        ("alike", [CLOSE, ABOVE], "not supported"),
        ("alike", [ABOVE, LESS], "contradicted"),
        ("alike", [SLIGHTLY], "holds"),
        ("alike", [WIDE], "cannot be told"),
        ("no lower", [CLOSE, ABOVE], "holds"),
        ("no lower", [LESS], "contradicted"),
        ("no lower", [WIDE, WIDE], "cannot be told"),
        ("higher", [ABOVE, SLIGHTLY, WIDE], "holds"),
        ("higher", [WIDE], "not supported"),
        ("lower", [ABOVE], "contradicted"),
        ("alike", [], "cannot be told"),
        ("higher", [], "cannot be told"),
    ],
)
def test_how_a_claim_stands(claimed, pairs, stands):
    asked = Within("it", lambda rows: dict(zip("abc", pairs, strict=False)), 0.5, claimed=claimed)
    assert asked.standing([]) == stands


def test_the_sentence_and_the_table_have_the_numbers():
    asked = Within("Which?", lambda rows: {"one": CLOSE, "two": LESS, "gone": {}}, 0.5)
    one, two = asked([])[:-1].split("; ")
    assert one.startswith("Which?: one as good as, within 0.5 points (+0.00 [")
    assert two.startswith(f"two worse ({MINUS}1.00 [")
    first, second = table([asked])([]).lines
    assert first[:3] == ("Which?", "one", "5")
    assert first[6] == "0.5 points"
    assert first[8] == "as good as, within 0.5 points"
    assert second[4] == "< 0.001"
    assert second[8] == "worse"
    empty = Within("Which?", lambda rows: {}, 0.5)
    assert empty([]) == ""
    assert table([empty])([]).lines == ()


def test_a_claim_holds_where_all_families_say_so():
    def family(pairs, claimed=None):
        return Within("it", lambda rows: pairs, 0.5, claimed=claimed)

    close, far, unsure = {"a": CLOSE}, {"a": ABOVE}, {"a": WIDE}
    for families, stands in [
        ([family(close, "alike"), family(far, "higher")], "holds"),
        ([family(close, "alike"), family(unsure, "alike"), family(far)], "holds in part"),
        ([family(far)], None),
    ]:
        found = question("it", *families)([])
        assert found.standing == stands
        assert found.answer.count("it: a") == len(families)
