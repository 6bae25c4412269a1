"""Latency: turns, summaries and words on a clock that the test moves; settings restored."""

from importlib import import_module

import pytest
import torch
from torch import nn

from sapwood.errors import InputError
from sapwood.measure.clock import Timing, latency, ratio, verdict

INPUTS = torch.ones(6, 2)


class Clock:
    """Time passes only inside the cases."""

    def __init__(self):
        self.now, self.calls = 0.0, []

    def __call__(self):
        return self.now

    def case(self, name, seconds):
        """A case whose i-th call takes seconds[i]."""
        left = iter(seconds)

        def run(x):
            self.calls.append(name)
            self.now += next(left)

        return run


def timing(*rounds, batch=6, threads=1):
    clock = Clock()
    timed = latency(
        {"x": clock.case("x", rounds)}, torch.ones(batch, 1), threads=threads, rounds=len(rounds), warmup=0, clock=clock
    )
    return timed["x"]


def test_summary_worked_by_hand():
    found = timing(5.0, 1.0, 2.0, 4.0, 3.0)
    assert found == Timing(median=3, lower=2, upper=4, fastest=1, batch=6, threads=1, rounds=(5, 1, 2, 4, 3))


def test_cases_take_turns_and_the_first_place_moves_on():
    clock = Clock()
    cases = {name: clock.case(name, [1.0] * 9) for name in "abc"}
    latency(cases, INPUTS, rounds=4, warmup=0, clock=clock)
    assert "".join(clock.calls) == "abcbcacababc"


def test_warm_up_is_run_but_not_counted():
    clock = Clock()
    found = latency({"x": clock.case("x", [100, 50, 1, 1, 1, 1])}, INPUTS, rounds=4, warmup=2, clock=clock)
    assert found["x"].rounds == (1, 1, 1, 1)


def test_ratio_is_taken_inside_each_round():
    a, b = timing(1.0, 20.0, 3.0, 40.0, 5.0), timing(1.0, 10.0, 1.0, 10.0, 1.0)
    found = ratio(a, b)
    assert (found.median, found.lower, found.upper) == (3, 2, 4)  # of 1, 2, 3, 4, 5; the medians' ratio would be 5
    assert (found.batch, found.threads) == (6, 1)


@pytest.mark.parametrize(
    ("rounds", "word"),
    [
        ((0.4, 0.5, 0.5, 0.6, 2.0), "faster"),
        ((0.9, 0.9, 0.9, 1.1, 1.1), "not faster"),
        ((1.0, 1.0, 1.0, 1.0, 1.0), "not faster"),
        ((1.1, 1.2, 1.3, 1.4, 0.1), "slower"),
    ],
)
def test_verdict_in_words(rounds, word):
    words = verdict(timing(*rounds), timing(1.0, 1.0, 1.0, 1.0, 1.0))
    assert words.startswith(f"{word}: takes ")
    assert words.endswith("batch 6, threads 1")


def test_modules_run_in_evaluation_and_inference_mode_and_everything_is_restored():
    seen = []

    class Probe(nn.Dropout):
        def forward(self, x):
            seen.append((self.training, torch.is_inference_mode_enabled(), torch.get_num_threads()))
            return super().forward(x) + torch.rand(())

    model, before, threads = Probe(), torch.get_rng_state(), torch.get_num_threads()
    found = latency({"probe": model, "plain": torch.relu}, INPUTS, threads=threads + 1, rounds=4, warmup=1)
    assert seen == [(False, True, threads + 1)] * 5
    assert model.training
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.is_inference_mode_enabled()
    assert 0 < found["plain"].fastest <= found["plain"].lower <= found["plain"].median <= found["plain"].upper
    assert found["plain"].threads == threads + 1


def test_settings_return_after_a_failure():
    def fail(x):
        raise RuntimeError("no")

    model, threads = nn.Dropout(), torch.get_num_threads()
    with pytest.raises(RuntimeError, match="no"):
        latency({"model": model, "fails": fail}, INPUTS, threads=threads + 1)
    assert model.training
    assert torch.get_num_threads() == threads
    assert not torch.is_inference_mode_enabled()


def test_several_inputs_are_passed_on():
    got = []
    latency({"add": lambda x, y: got.append(torch.equal(x + 1, y))}, (INPUTS, INPUTS + 1), rounds=4, warmup=0)
    assert got == [True] * 4


def test_refusals():
    with pytest.raises(InputError, match="given 0 cases"):
        latency({}, INPUTS)
    with pytest.raises(InputError, match=r"shapes \[\]"):
        latency({"x": torch.relu}, ())
    with pytest.raises(InputError, match="rounds 3"):
        latency({"x": torch.relu}, INPUTS, rounds=3)
    with pytest.raises(InputError, match="threads is 0"):
        latency({"x": torch.relu}, INPUTS, threads=0)
    with pytest.raises(InputError, match="one call of latency"):
        ratio(timing(1.0, 1.0, 1.0, 1.0), timing(1.0, 1.0, 1.0, 1.0, batch=7))
    with pytest.raises(InputError, match="0 seconds"):
        ratio(timing(1.0, 1.0, 1.0, 1.0), timing(1.0, 0.0, 1.0, 1.0))


def test_memory_is_settled_before_anything_is_timed(monkeypatch):
    """What that is good for shows in times only: benchmarks/time_target.py, whose other process is a young one."""
    seen = []
    monkeypatch.setattr(import_module("sapwood.measure.clock"), "_settle_memory", lambda: seen.append("settled"))
    latency({"a": lambda x: seen.append("a")}, INPUTS, rounds=4, warmup=0)
    assert seen == ["settled", "a", "a", "a", "a"]
