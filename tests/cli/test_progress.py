"""Progress: how much is done, how long the rest takes, and what is told where."""

import io
import sys
from types import SimpleNamespace

import pytest
from rich.console import Console
from rich.progress import Progress, TextColumn

from sapwood.cli import progress
from sapwood.cli.progress import Bars, Lines, Pace, duration, shown
from sapwood.trials.execution import Progress as News
from sapwood.trials.trial import Trial

ONE, TWO, THREE = (Trial.make("dense", "mlp_digits", seed, "S") for seed in range(3))


def news(trial, text="epoch 1", done=None, finished=False, **more):
    return News(trial.id, trial.arm, trial.seed, text, done, finished, **more)


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is told the time."""
    now = [0.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def test_the_time_left_follows_from_the_work_of_this_session(clock):
    pace = Pace(3)
    assert pace.left() == ""
    pace.hear(news(ONE, done=0.5))  # resumed half way: that half was not made now
    clock[0] = 30.0
    assert pace.left() == ""
    pace.end(ONE)
    assert pace.left() == "about 2 min left"  # half a trial in 30 s, two are left
    pace.hear(news(TWO, done=None))
    pace.hear(news(TWO, done=0.5))
    assert pace.left() == "about 45 s left"  # one in 30 s, 1.5 are left
    pace.end(TWO)
    pace.end(THREE)
    assert pace.left() == ""


def test_what_was_done_before_is_no_work(clock):
    pace = Pace(2)
    pace.hear(news(ONE, done=1.0, finished=True))
    pace.end(ONE)
    clock[0] = 100.0
    assert pace.left() == ""


def test_the_first_steps_of_the_first_trial_tell_how_long_all_may_take(clock):
    """40 s for a hundredth of a trial: 66 minutes for the rest; three trials, two at once."""
    told = []
    lines = Lines(3, told.append)
    lines.tell(news(ONE, "starting", 0.0))
    lines.tell(news(TWO, "starting", 0.0))
    clock[0] = 5.0
    lines.tell(news(ONE, "step 1", 0.001))
    assert lines.pace.of(ONE.id) == lines.pace.left() == ""  # too little to go by
    clock[0] = 40.0
    lines.tell(news(ONE, "step 10", 0.01))
    lines.tell(news(TWO, "step 10", 0.01))
    rest = "about 1.7 h left for all 3 trials if they are alike"
    assert told[-1] == f"S seed 1: step 10; about 66 min left of this trial, {rest}"
    assert told[-2].startswith("S seed 0: step 10; about 66 min left of this trial, ")
    lines.end(ONE, "out of memory")
    assert lines.pace.left() == "about 66 min left for all 3 trials if they are alike"  # what fails tells nothing


def test_one_trial_alone_has_one_time(clock):
    told = []
    lines = Lines(1, told.append)
    lines.tell(news(ONE, "resumed at step 9", 0.5))
    clock[0] = 60.0
    lines.tell(news(ONE, "epoch 3", 0.6))
    assert told[-1] == "S seed 0: epoch 3; about 4 min left"  # a tenth a minute


def test_where_a_rule_ends_a_trial_an_epoch_s_time_is_told_and_the_most_that_is_left(clock):
    pace = Pace(2)
    pace.hear(news(ONE, "starting", most=50.0))
    clock[0] = 20.0
    pace.hear(news(ONE, epochs=10.0, most=50.0))
    assert pace.of(ONE.id) == "about 2 s an epoch, at most 80 s left"
    assert pace.left() == "at most 3 min left for all 2 trials if they are alike"
    clock[0] = 21.0
    pace.hear(news(ONE, epochs=60.0))
    assert pace.of(ONE.id) == "about 0.35 s an epoch"
    assert pace.left() == ""  # nobody knows


def test_waiting_for_a_folder_is_no_work(clock):
    pace = Pace(1)
    pace.hear(news(ONE, "in use"))
    clock[0] = 1000.0
    pace.hear(news(ONE, "starting", 0.0))
    clock[0] = 1010.0
    pace.hear(news(ONE, "step 5", 0.5))
    assert pace.of(ONE.id) == "about 10 s left"


def test_long_trials_tell_more_seldom(clock):
    told = []
    lines = Lines(1, told.append)
    for at in range(0, 36_000, 10):
        clock[0] = float(at)
        lines.tell(news(ONE, f"step {at}", at / 36_000))
    assert len(told) < 150
    assert told[5].startswith("S seed 0: step 50; ")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "1 s"), (89, "89 s"), (120, "2 min"), (5399, "90 min"), (9000, "2.5 h"), (200_000, "2.3 days")],
)
def test_durations(seconds, said):
    assert duration(seconds) == said


def test_lines_tell_of_starts_and_ends_but_not_of_every_epoch(clock):
    told = []
    lines = Lines(2, told.append)
    lines.tell(news(ONE, "starting"))
    clock[0] = 9.0
    lines.tell(news(ONE, "epoch 1", 0.1))
    clock[0] = 20.0
    lines.tell(news(ONE, "epoch 2", 0.2))
    lines.tell(news(ONE, "done", 1.0, finished=True))
    lines.end(ONE, None)
    lines.end(TWO, "out of memory")
    assert told == [
        "S seed 0: starting",
        "S seed 0: epoch 2; about 80 s left of this trial, about 3 min left for all 2 trials if they are alike",
        "[1/2] S seed 0 done; about 20 s left",
        "[2/2] S seed 1 FAILED: out of memory",
    ]


def test_bars_show_what_runs_and_what_failed(clock):
    out = io.StringIO()
    drawn = Progress(TextColumn("{task.description}|{task.completed}|{task.fields[left]}", markup=False),
                     console=Console(file=out, force_terminal=True, width=80))  # fmt: skip
    bars = Bars(2, drawn)
    bars.tell(news(ONE, "epoch 3, accuracy 0.5 [x]", 0.25))
    clock[0] = 10.0
    bars.tell(news(TWO, "starting"))
    assert [task.description for task in drawn.tasks] == [
        "0 of 2 trials", "S seed 0: epoch 3, accuracy 0.5 [x]", "S seed 1: starting"]  # fmt: skip
    assert [task.total for task in drawn.tasks] == [2, 1.0, None]
    bars.end(ONE, None)
    bars.end(TWO, "it broke [y]")
    assert [(task.description, task.completed) for task in drawn.tasks] == [("2 of 2 trials", 2.0)]
    assert "S seed 1 FAILED: it broke [y]" in out.getvalue()


def test_lines_where_there_is_no_terminal(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with shown(1) as view:
        assert isinstance(view, Lines)
        view.end(ONE, None)
    assert sys.stderr.getvalue() == "[1/1] S seed 0 done\n"
