"""Progress: how much is done, how long the rest takes, and what is told where."""

import io
import sys
from types import SimpleNamespace

import pytest
from rich.console import Console
from rich.progress import Progress, TextColumn

from sapwood.cli import progress
from sapwood.cli.progress import Bars, Lines, Pace, shown
from sapwood.trials.execution import Progress as News
from sapwood.trials.trial import Trial

ONE, TWO, THREE = (Trial.make("dense", "mlp_digits", seed, "S") for seed in range(3))


def news(trial, text="epoch 1", done=None, finished=False):
    return News(trial.id, trial.arm, trial.seed, text, done, finished)


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
        "S seed 0: epoch 2",
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
