"""Trials: identity, and options checked against the method's signature."""

from typing import Literal

import pytest

from sapwood.errors import InputError
from sapwood.methods import METHOD_VERSIONS, METHODS
from sapwood.study.trial import Trial, checked_options, defaults, parse_option


@pytest.fixture
def toy(monkeypatch):
    """A method with an option of every type."""

    def method(run, *, rate: float, count: int = 1, on: bool = False, name: str = "a", limit: int | None = None,
               mode: Literal["x", "y"] = "x"):  # fmt: skip
        yield

    monkeypatch.setitem(METHODS, "toy", method)
    monkeypatch.setitem(METHOD_VERSIONS, "toy", 1)


@pytest.mark.parametrize(
    ("trial", "golden"),
    [
        (Trial.make("dense", "mlp_digits", 0), "84df6387dae1"),
        (
            Trial.make("global_activation", "mlp_fashion", 1, "G1", criterion="active_magnitude", cycles=10),
            "ab4fae91225e",
        ),
        (Trial.make("gradual_magnitude", "mlp_digits", 2, epochs=60, begin=5.0, end=30.0), "1bf1702163ac"),
    ],
)
def test_ids_stay_what_they_were(trial, golden):
    assert trial.id == golden, "an id has changed: all results filed under the old one are orphaned; undo that"


def test_the_identity_is_what_differs_from_the_defaults():
    plain = Trial.make("global_activation", "mlp_digits", 0)
    assert Trial.make("global_activation", "mlp_digits", 0, "a label", sparsity=0.8, cycles=5) == plain
    assert Trial.make("global_activation", "mlp_digits", 0, "a label").id == plain.id
    assert plain.identity["options"] == {}
    others = [
        Trial.make("global_activation", "mlp_digits", 1),
        Trial.make("local_activation", "mlp_digits", 0),
        Trial.make("global_activation", "mlp_fashion", 0),
        Trial.make("global_activation", "mlp_digits", 0, cycles=6),
    ]
    assert len({each.id for each in [plain, *others]}) == 5


def test_the_order_of_options_and_whole_numbers_for_floats_change_nothing():
    one = Trial.make("global_activation", "mlp_digits", 0, cycles=3, target=1)
    assert one == Trial.make("global_activation", "mlp_digits", 0, target=1.0, cycles=3)
    assert one.all_options() == defaults("global_activation") | {"cycles": 3, "target": 1.0}
    assert isinstance(one.all_options()["target"], float)


def test_a_new_version_is_a_new_trial(monkeypatch):
    before = Trial.make("dense", "mlp_digits", 0).id
    monkeypatch.setitem(METHOD_VERSIONS, "dense", METHOD_VERSIONS["dense"] + 1)
    assert Trial.make("dense", "mlp_digits", 0).id != before


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Trial.make("dnse", "mlp_digits", 0), "unknown method 'dnse'; did you mean 'dense'?"),
        (lambda: Trial.make("dense", "mlp_digit", 0), "unknown task 'mlp_digit'; did you mean 'mlp_digits'?"),
        (lambda: Trial.make("dense", "mlp_digits", -1), "seed is -1; give a whole number of 0 or more"),
        (lambda: Trial.make("dense", "mlp_digits", True), "seed is True"),
        (lambda: Trial.make("dense", "mlp_digits", 0, epoch=3), "'epoch'; did you mean 'epochs'?"),
        (lambda: Trial.make("toy", "mlp_digits", 0), "'toy' needs option 'rate', which has no default"),
        (lambda: checked_options("toy", {"count": 1.0}), "option 'count' of method 'toy' is 1.0; it must be int"),
        (lambda: checked_options("toy", {"count": True}), "it must be int"),
        (lambda: checked_options("toy", {"rate": True}), "it must be float"),
        (lambda: checked_options("toy", {"rate": float("nan")}), "is nan; give a finite number"),
        (lambda: checked_options("toy", {"on": 1}), "it must be bool"),
        (lambda: checked_options("toy", {"limit": "3"}), "it must be int | None"),
        (lambda: checked_options("toy", {"mode": "z"}), "it must be Literal['x', 'y']"),
        (lambda: parse_option("toy", "count", "many"), "option 'count' of method 'toy' is 'many'; it must be int"),
        (lambda: parse_option("toy", "on", "1"), "it must be bool"),
        (lambda: parse_option("toy", "mode", "z"), "it must be Literal['x', 'y']"),
        (lambda: parse_option("toy", "rates", "1"), "did you mean 'rate'?"),
        (lambda: parse_option("toy", "rate", "inf"), "give a finite number"),
    ],
)
def test_bad_options_are_refused_in_words(toy, make, says):
    with pytest.raises(InputError) as refusal:
        make()
    assert says in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("rate", "1", 1.0), ("rate", "1e-3", 0.001), ("count", " 7", 7), ("on", "True", True), ("on", "false", False),
        ("name", "7", "7"), ("name", "none", "none"), ("limit", "none", None), ("limit", "4", 4), ("mode", "y", "y"),
    ],
)  # fmt: skip
def test_typed_values_are_read_as_the_annotation_says(toy, name, text, value):
    found = parse_option("toy", name, text)
    assert (type(found), found) == (type(value), value)
