"""Trials: identity, and options checked against the method's signature."""

from functools import partial
from typing import Literal

import pytest

from sapwood.criteria import CRITERIA
from sapwood.errors import InputError
from sapwood.methods import METHOD_VERSIONS, METHODS
from sapwood.trials.trial import Trial, checked_options, defaults, parse_option


@pytest.fixture
def toy(monkeypatch):
    """A method with an option of every type."""

    def method(run, *, rate: float, count: int = 1, on: bool = False, name: str = "a", criterion: str = "b",
               limit: int | None = None, mode: Literal["x", "y"] = "x"):  # fmt: skip
        yield

    monkeypatch.setitem(METHODS, "toy", method)
    monkeypatch.setitem(METHOD_VERSIONS, "toy", 1)


ACTIVITY = Trial.make("global_activation", "mlp_fashion", 1, "G1", criterion="active_magnitude", cycles=10)
GRADUAL = Trial.make("gradual_magnitude", "mlp_digits", 2, epochs=60, begin=5.0, end=30.0)


@pytest.mark.parametrize(
    ("trial", "golden", "before"),
    [
        (Trial.make("dense", "mlp_digits", 0), "37fcde1b921e", "37fcde1b921e"),
        (ACTIVITY, "0990ce1175f0", "ab4fae91225e"),
        (Trial.make("dense", "mlp_digits", 0).after().tracing(), "37fcde1b921e", "37fcde1b921e"),
        (GRADUAL, "24ecd0506cb7", "1bf1702163ac"),
        (Trial.make("dense", "lenet300_mnist", 0).under(blank=10), "60982bae75de", "bed55242d6bf"),
    ],
)
def test_ids_stay_what_they_were(trial, golden, before):
    """Today's, and those of the versions before, under which kept results are filed."""
    said = "an id has changed: all results filed under the old one are orphaned; undo that"
    assert (trial.id, trial.as_of(before=True).id) == (golden, before), said


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


def test_another_recipe_is_another_trial():
    plain = Trial.make("dense", "mlp_digits", 0)
    assert plain.under() == plain.under(course="constant", learning_rate=None) == plain
    assert plain.under().id == plain.id
    changed = plain.under(learning_rate=1, course="cosine")
    assert changed.identity["recipe"] == {"course": "cosine", "learning_rate": 1.0}
    assert len({plain.id, changed.id, plain.under(course="cosine").id, changed.under(course="straight").id}) == 4
    with pytest.raises(InputError, match=r"option of a task's recipe: 'rate'.*learning_rate"):
        plain.under(rate=0.1)
    with pytest.raises(InputError, match="option 'course' of the recipe is 3; it must be str"):
        plain.under(course=3)


def test_the_order_of_options_and_whole_numbers_for_floats_change_nothing():
    one = Trial.make("global_activation", "mlp_digits", 0, cycles=3, target=1)
    assert one == Trial.make("global_activation", "mlp_digits", 0, target=1.0, cycles=3)
    assert one.all_options() == defaults("global_activation") | {"cycles": 3, "target": 1.0}
    assert isinstance(one.all_options()["target"], float)


def test_a_new_version_is_a_new_trial(monkeypatch):
    before = Trial.make("dense", "mlp_digits", 0).id
    monkeypatch.setitem(METHOD_VERSIONS, "dense", METHOD_VERSIONS["dense"] + 1)
    assert Trial.make("dense", "mlp_digits", 0).id != before


DENSE = Trial.make("dense", "mlp_digits", 0, "S")
PRUNED = Trial.make("global_activation", "mlp_digits", 0, "G")


def test_what_a_trial_uses_and_traces_is_part_of_it():
    after = PRUNED.after(start=DENSE)
    assert after.identity == PRUNED.identity | {"uses": {"start": DENSE.id}}
    assert PRUNED.tracing("spectra").identity == PRUNED.identity | {"traces": ["spectra"]}
    both = after.tracing("spectra").after(like=DENSE)
    assert both == PRUNED.after(like=DENSE).tracing("spectra").after(start=DENSE)
    assert both.arm == "G"
    every = [PRUNED, after, PRUNED.after(like=DENSE), PRUNED.tracing("spectra"), both, PRUNED.after(start=PRUNED)]
    assert len({each.id for each in every}) == len(set(every)) == len(every)
    changed = Trial.make("dense", "mlp_digits", 0, epochs=3)
    assert PRUNED.after(start=changed).id != after.id, "what it goes on from has changed, so it is another trial"
    assert after.after(start=changed) == PRUNED.after(start=changed)


def test_needed_trials_come_in_the_order_they_can_be_run():
    first = PRUNED.after(start=DENSE)
    second = DENSE.after(start=first, like=DENSE)
    last = PRUNED.after(like=first, start=second)
    assert DENSE.needed() == []
    assert second.needed() == [DENSE, first]
    assert last.needed() == [DENSE, first, second]
    assert last.needed(lambda other: other == first) == [DENSE, second]
    assert last.needed(lambda other: other == second) == [DENSE, first]
    assert second.needed(lambda other: other in (first, DENSE)) == []
    assert PRUNED.after(start=first).needed(lambda other: other == first) == []  # nor what only `first` needs


GRADUAL_WITH = partial(Trial.make, "gradual_magnitude", "mlp_digits", 0)


def test_what_a_method_can_use_is_not_refused(toy, monkeypatch):
    """Criteria of sapwood's methods only, and of those all that they have."""
    for method, criterion in {
        "at_init": "grasp",
        "global_activation": "activity",
        "iterative_magnitude": "lamp",
    }.items():
        assert Trial.make(method, "mlp_digits", 0, criterion=criterion, sparsity=0.0).options != ()
    assert dict(Trial.make("toy", "mlp_digits", 0, rate=1.0, criterion="its own").options)["criterion"] == "its own"
    monkeypatch.setitem(CRITERIA, "bright", CRITERIA["magnitude"])
    assert dict(GRADUAL_WITH(criterion="bright").options) == {"criterion": "bright"}


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Trial.make("dnse", "mlp_digits", 0), "unknown method 'dnse'; did you mean 'dense'?"),
        (lambda: Trial.make("dense", "mlp_digit", 0), "unknown task 'mlp_digit'; did you mean 'mlp_digits'?"),
        (lambda: Trial.make("dense", "mlp_digits", -1), "seed is -1; give a whole number of 0 or more"),
        (lambda: Trial.make("dense", "mlp_digits", True), "seed is True"),
        (lambda: Trial.make("dense", "mlp_digits", 0, epoch=3), "'epoch'; did you mean 'epochs'?"),
        (lambda: Trial.make("toy", "mlp_digits", 0), "'toy' needs option 'rate', which has no default"),
        (
            lambda: GRADUAL_WITH(sparsity=95),
            "method 'gradual_magnitude' is 95; give the fraction removed, in [0, 1): 0.95 for",
        ),
        (
            lambda: GRADUAL_WITH(initial=-0.5),
            "option 'initial' of method 'gradual_magnitude' is -0.5; give the fraction",
        ),
        (lambda: GRADUAL_WITH(sparsity=1.0), "is 1; give the fraction removed, in [0, 1)"),
        (lambda: GRADUAL_WITH(criterion="activty"), "unknown criterion 'activty'; did you mean 'activity'?"),
        (
            lambda: GRADUAL_WITH(criterion="activity"),
            "'gradual_magnitude' scores by weights alone, and criterion 'activity'",
        ),
        (
            lambda: GRADUAL_WITH(criterion="apoz"),
            "take a method that gathers it: at_init, global_activation, local_activation",
        ),
        (lambda: DENSE.after(starts=PRUNED), "unknown use of another trial 'starts'; did you mean 'start'?"),
        (lambda: DENSE.after(like="G"), "arm 'S' uses 'G' as 'like'; give a Trial"),
        (lambda: DENSE.tracing("spectre"), "unknown trace 'spectre'; did you mean 'spectra'?"),
        (lambda: DENSE.tracing("spectra", "nonsense"), "unknown trace 'nonsense'; known: spectra"),
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


def test_an_arm_goes_by_its_old_name_for_a_release_and_says_so():
    with pytest.warns(DeprecationWarning, match="a trial's row is its arm now"):
        assert DENSE.row == DENSE.arm
    with pytest.warns(DeprecationWarning, match="a trial's row is its arm now"):
        assert Trial.make("dense", "mlp_digits", 0, row="S") == Trial.make("dense", "mlp_digits", 0, "S")
