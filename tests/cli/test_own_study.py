"""A study of one's own task and method: it runs, and says what failed, what was left, and what was edited since."""

import sys

import pytest

from sapwood.cli import running
from sapwood.criteria import CRITERIA
from sapwood.methods import METHODS
from sapwood.study.smaller import smaller
from sapwood.study.study import find
from sapwood.tasks import TASKS, goal_of
from sapwood.training.goal import ACCURACY, Goal
from sapwood.trials.own_code import changed, own_code
from sapwood.trials.trial import Trial

METHOD = '''
"""Slow: trains."""
from sapwood import train

def slow(run, *, epochs: int = 1):
    """Trains."""
    yield from train(run, epochs=epochs)

def breaks(run, *, after: int = 0):
    """Never begins."""
    raise RuntimeError("it broke")
    yield
'''

STUDY = '''
"""Ours: a task, a method, and one that fails."""
from functools import partial

import torch
from slow import breaks, slow
from torch import nn

from sapwood import CRITERIA, METHODS, TASKS, Batch, Criterion, Data, Task
from sapwood.study.study import Study
from sapwood.trials.trial import Trial


def spots():
    """Two classes of six numbers."""
    x, y = torch.randn(60, 6, generator=torch.Generator().manual_seed(0)), torch.arange(60) % 2
    parts = [Batch(x[at : at + 20], y[at : at + 20]) for at in (0, 20, 40)]
    return Task("spots", lambda: nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2)), Data(*parts),
                partial(torch.optim.SGD, lr=0.1), batch_size=10, classes=2, goal=("loss", "down"))


METHODS["slow"], METHODS["breaks"] = slow, breaks
TASKS["spots"] = spots
CRITERIA["bright"] = Criterion(lambda w_OI, seen: w_OI)


def trials(scale):
    first = Trial.make("breaks", "spots", 0, arm="first")
    second = Trial.make("slow", "spots", 0, arm="second").after(start=first)
    yield from (first, second, Trial.make("slow", "spots", 0, arm="third").after(start=second))
    yield Trial.make("slow", "spots", 1, arm="mine")


STUDY = Study("ours", "Ours", "no paper's", trials)
'''


@pytest.fixture
def ours(tmp_path, monkeypatch):
    """A folder with the study to be in; afterwards nobody has heard of what it registers."""
    (tmp_path / "slow.py").write_text(METHOD)
    (tmp_path / "ours.py").write_text(STUDY)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for table, names in ((METHODS, ("slow", "breaks")), (TASKS, ("spots",)), (CRITERIA, ("bright",))):
        for name in names:
            table.pop(name, None)
    sys.modules.pop("slow", None)


def lines(text, word):
    return [line for line in text.splitlines() if word in line]


def test_a_study_of_ones_own_says_what_failed_what_is_left_and_what_was_edited(sapwood, ours):
    words = ("run", "ours.py", "--pool", "serial", "--results", "out")
    status, out, err = sapwood(*words, "--only", "arm=mine", "--only=seed=1")
    assert status == 0, err
    assert "test loss" in out
    assert "test accuracy" not in out
    left = (
        "3 other trials of the study are not finished; to run them too: sapwood run ours.py --pool serial --results out"
    )
    assert out.splitlines()[-1] == left
    (ours / "slow.py").write_text(METHOD + "# another line\n")
    status, out, err = sapwood(*words)
    assert status == 1
    assert lines(err, "has changed") == [
        "slow.py has changed since 1 of them were run: a new --results folder runs them afresh"
    ]
    assert [line.partition("; about")[0] for line in lines(err, "[")] == [
        "[1/3] first seed 0 FAILED: RuntimeError: it broke",
        "[2/3] second seed 0 not run: arm 'first', seed 0, failed",
        "[3/3] third seed 0 not run: arm 'second', seed 0, was not run",
    ]
    first, second, _, _ = find("ours.py").at("small")
    assert err.splitlines()[-3:] == [
        f"first seed 0 failed: see out/ours/{first.id}/failed",
        "second seed 0 was not run: arm 'first', seed 0, failed",
        "third seed 0 was not run: arm 'second', seed 0, was not run",
    ]
    assert not (ours / "out" / "ours" / second.id).exists()
    assert not lines(out, "other trial")
    status, _, err = sapwood(*words, "--only", "arm=first", "--results", "new")
    assert (status, lines(err, "run it first")) == (2, [])
    assert lines(
        err, "error: no trial of study 'ours' has any rows in new/ours; arm first, seed 0 failed: RuntimeError"
    )


def test_a_worker_that_knows_nothing_reads_the_task_from_the_study(ours):
    trial = find("ours.py").at("small")[3]
    del TASKS["spots"]
    running._read.cache_clear()
    seen = []
    running._knowing("ours.py", lambda trial, tell: seen.append(TASKS[trial.task]().name), trial, print)
    assert seen == ["spots"]
    assert goal_of("spots") == Goal("loss", "down")
    assert goal_of("mlp_digits") == goal_of("nowhere") == ACCURACY


def test_code_of_ones_own_is_told_by_its_files(ours):
    mine = find("ours.py").at("small")[3]
    before = own_code(mine)
    assert [entry.split()[0] for entry in before.split(", ")] == ["ours.py", "slow.py"]
    assert changed(before, own_code(mine)) == changed("", before) == changed(before, "") == []
    (ours / "slow.py").write_text(METHOD + "\n")
    assert changed(before, own_code(mine)) == ["slow.py"]
    theirs = Trial.make("gradual_magnitude", "mlp_digits", 0)
    assert own_code(theirs) == ""
    assert own_code(Trial.make("gradual_magnitude", "mlp_digits", 0, criterion="bright")).startswith("ours.py ")


def test_a_folder_is_no_study(sapwood, ours):
    (ours / "folder.py").mkdir()
    status, _, err = sapwood("run", "folder.py")
    assert (status, err) == (2, "error: 'folder.py' is a folder; give the study's file in it\n")


def test_why_no_smaller_network_is_written(tmp_path):
    pruned, dense = (Trial.make("dense", "mlp_digits", 0, arm, epochs=n) for n, arm in enumerate(("small", "full"), 1))
    says = "no smaller network is written: "
    made_of = f"{says}it is made of arms small and full, seed 0; not finished: "
    assert smaller(tmp_path, pruned, dense) == [f"{made_of}small, full"]
    for trial, found in ((dense, f"{made_of}small"), (pruned, f"{says}these results are kept ones, without weights")):
        (tmp_path / trial.id).mkdir()
        (tmp_path / trial.id / "kept").touch()
        assert smaller(tmp_path, pruned, dense) == [found]
