"""Choosing trials: what --only keeps and what --set changes."""

import pytest

from sapwood.cli.choosing import changed, only, pairs, with_needed
from sapwood.errors import InputError
from sapwood.trials.trial import Trial

TRIALS = [
    Trial.make(method, "mlp_digits", seed, row, **options)
    for seed in (0, 1)
    for row, method, options in (
        ("S", "dense", {}),
        ("G1", "global_activation", {"sparsity": 0.5}),
        ("G2", "global_activation", {"sparsity": 0.9, "per_neuron": True}),
        ("M", "gradual_magnitude", {}),
    )
]


def kept(*texts):
    return [(trial.arm, trial.seed) for trial in only(TRIALS, pairs(texts, "--only"))]


def test_without_a_wish_everything_is_kept():
    assert only(TRIALS, []) == TRIALS
    assert changed(TRIALS, []) == TRIALS


def test_any_value_of_a_key_and_all_of_the_keys():
    assert kept("arm=G1") == [("G1", 0), ("G1", 1)]
    assert kept("arm=G1", "arm=S", "seed=1") == [("S", 1), ("G1", 1)]
    assert kept("method=global_activation", "task=mlp_digits", "seed=0") == [("G1", 0), ("G2", 0)]


def test_options_are_compared_as_values_and_with_defaults():
    assert kept("sparsity=0.50", "seed=0") == [("G1", 0)]
    assert kept("sparsity=0.8", "seed=0") == [("M", 0)]  # its default; dense has no such option
    assert kept("per_neuron=true", "seed=0") == [("G2", 0)]
    assert kept("per_neuron=false", "seed=0") == [("G1", 0)]


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (["sparsity"], "--only 'sparsity' is not KEY=VALUE"),
        (["=3"], "--only '=3' is not KEY=VALUE"),
        (["am=G1"], "unknown key in --only 'am'; did you mean 'arm'"),
        (["arm=G3"], "unknown value of 'arm' in --only: 'G3'; known: G1, G2, M, S"),
        (["method=dens"], "unknown value of 'method' in --only: 'dens'; did you mean 'dense'"),
        (["seed=7"], "unknown value of 'seed' in --only: '7'; known: 0, 1"),
        (["sparsity=0.123"], "unknown value of 'sparsity' in --only: '0.123'"),
        (["sparsity=much"], "'sparsity' of method 'global_activation' is 'much'; it must be float"),
        (["arm=S", "method=global_activation"], "no trial has arm=S and method=global_activation together"),
    ],
)
def test_what_no_trial_has_is_an_error(texts, says):
    with pytest.raises(InputError) as caught:
        kept(*texts)
    assert says in str(caught.value)


def test_an_option_is_set_where_the_method_has_it():
    after = changed(TRIALS, pairs(["power=2", "epochs=7"], "--set"))
    assert [trial.all_options()["epochs"] for trial in after] == [7] * len(TRIALS)
    assert [trial.all_options().get("power") for trial in after if trial.seed == 0] == [None, None, None, 2.0]
    assert [(t.arm, t.seed) for t in after] == [(t.arm, t.seed) for t in TRIALS]
    assert all(one.id != other.id for one, other in zip(after, TRIALS, strict=True))


def test_a_default_that_is_set_again_changes_nothing():
    dense = TRIALS[:1]
    usual = dense[0].all_options()["epochs"]
    assert changed(dense, [("epochs", str(usual))]) == dense


def test_trials_that_became_equal_run_once():
    pair = [Trial.make("global_activation", "mlp_digits", 0, row, sparsity=s) for row, s in (("G1", 0.5), ("G2", 0.9))]
    assert [trial.arm for trial in changed(pair, [("sparsity", "0.7")])] == ["G1"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sparsty=0.5", "unknown option in --set 'sparsty'; did you mean 'sparsity'"),
        ("epochs=2.5", "--set epochs='2.5': give a whole number, such as 3"),
        ("sparsity=lots", "--set sparsity='lots': give a number, such as 0.8"),
        ("row=G1", "unknown option in --set 'row'"),
    ],
)
def test_what_cannot_be_set_is_an_error(text, says):
    with pytest.raises(InputError) as caught:
        changed(TRIALS, pairs([text], "--set"))
    assert says in str(caught.value)


DENSE, PRUNED = TRIALS[0], TRIALS[1].after(start=TRIALS[0])
AFTER = Trial.make("dense", "mlp_digits", 0, "G1 retrained", epochs=5).after(start=PRUNED).tracing("spectra")


@pytest.mark.parametrize(
    ("chosen", "over", "usable", "waiting"),
    [
        ([AFTER], [], [], [DENSE, PRUNED, AFTER]),
        ([AFTER, DENSE, PRUNED], [], [], [DENSE, PRUNED, AFTER]),
        ([AFTER, TRIALS[3]], [DENSE], [DENSE], [PRUNED, AFTER, TRIALS[3]]),
        ([AFTER], [DENSE, PRUNED], [PRUNED], [AFTER]),
        ([AFTER], [DENSE, PRUNED], [DENSE], [PRUNED, AFTER]),  # its results are there, its weights are not
        ([AFTER, DENSE], [AFTER, DENSE], [], []),
        ([AFTER, DENSE], [DENSE], [], [DENSE, PRUNED, AFTER]),
    ],
)
def test_what_is_run_comes_after_what_it_needs(chosen, over, usable, waiting):
    assert with_needed(chosen, over.__contains__, usable.__contains__) == waiting


def test_a_changed_trial_goes_on_from_changed_ones_and_traces_the_same():
    [after] = changed([AFTER], [("epochs", "7")])
    assert [each.all_options()["epochs"] for each in (*after.needed(), after)] == [7, 7, 7]
    assert (after.arm, after.traces) == (AFTER.arm, AFTER.traces)
    assert changed([AFTER], []) == [AFTER]


def test_the_old_name_of_an_arm_still_chooses():
    assert kept("row=G1") == kept("arm=G1")
