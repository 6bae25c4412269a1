"""Telling: how long trials are, and what is told of them between two epochs."""

from types import SimpleNamespace

import pytest
from golden import trajectories

from sapwood.training.goal import ACCURACY
from sapwood.training.loop import Moment
from sapwood.trials import telling
from sapwood.trials.length import COUNTED, Length, length
from sapwood.trials.telling import Voice
from sapwood.trials.trial import Trial, defaults


def of(method, like=None, **options):
    return length(method, defaults(method) | options, like)


@pytest.mark.parametrize("method", trajectories.GOLDEN)
def test_lengths_are_those_of_the_recorded_trajectories(method):
    found = of(method, **trajectories.OPTIONS[method])
    made = len(trajectories.GOLDEN[method].correct)
    if found is None:
        assert method in COUNTED
    else:
        assert found.epochs == made if found.exact else found.epochs >= made


def test_a_rule_that_may_end_it_makes_the_length_a_limit():
    assert of("dense", epochs=7, stop="epochs") == Length(7, exact=True)
    assert of("dense", epochs=7, stop="spikes") == Length(7, exact=False)
    assert of("gradual_magnitude", epochs=7, stop="spikes") == Length(7, exact=True)  # the rule is for the dense phase
    assert of("gradual_magnitude", epochs=7, dense_epochs=2, stop="spikes") == Length(9, exact=False)


def test_what_other_trials_and_sizes_decide():
    assert of("dense", as_long=True) is None
    assert of("dense", 12.0, as_long=True) == Length(12)
    assert of("rethink", protocol="scratch_b") is None
    assert of("rethink", protocol="scratch_e", epochs=9) == Length(9)
    assert of("pruning_from_scratch", equal_cost=True) is None
    assert length("mine", {"steps": 5}) is None


class Clock:
    now = 0.0

    def monotonic(self):
        return self.now


def test_within_a_long_epoch_steps_are_told_and_what_they_are_of_the_trial(monkeypatch):
    monkeypatch.setattr(telling, "time", clock := Clock())
    task, told = SimpleNamespace(steps_per_epoch=1000, goal=ACCURACY), []
    trial = Trial.make("l1_filters", "mlp_digits", 0, "S", epochs=4, tune=1)
    voice = Voice(trial, SimpleNamespace(given={}, alone="", task=task, sparsity=lambda: 0.5), told.append)
    voice.begin(None)
    for step in range(1, 6001):
        clock.now = step / 25
        ends = step % 1000 == 0
        voice.hear(Moment(step, (step - 1) // 1000 + 1, ends, 0.25, {"valid_accuracy": 0.9} if ends else {}, 0))
    assert told[0].text == "starting"
    assert told[1].text == "epoch 1, step 125 of 1,000, loss 0.25, sparsity 0.50"
    assert (told[1].done, told[1].most) == (125 / 5000, 5)
    assert [news.text for news in told if "valid" in news.text][1] == "epoch 2, valid accuracy 0.900, sparsity 0.50"
    assert len(told) == 1 + 6 * 8  # every 5 s of 40 s
    assert [news.done for news in told if news.epochs == 5] == [1.0]
    assert {news.done for news in told if news.epochs > 5} == {None}  # more than its options say: nobody knows


def test_a_resumed_trial_tells_what_was_done_before():
    told = []
    run = SimpleNamespace(given={}, alone="", task=SimpleNamespace(steps_per_epoch=10))
    Voice(Trial.make("dense", "mlp_digits", 0, "S", epochs=4, stop="epochs"), run, told.append).begin(20)
    assert (told[0].text, told[0].done) == ("resumed at step 20", 0.5)
