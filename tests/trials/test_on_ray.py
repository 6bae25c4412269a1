"""The pool on Ray: outcomes and rows as of the other pools, and what is lost when a worker or the driver is killed.

A cluster of two cores, started here. That takes seconds on a quiet machine and more than a minute on a busy one: wait.
"""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from toy import (
    begun,
    gone,
    gone_on_with,
    in_use,
    sleepy,
    square,
    surroundings,
    trouble_costs_nothing,
    undisturbed,
)

from sapwood.errors import InputError
from sapwood.extras import MissingExtra
from sapwood.trials import turns
from sapwood.trials.on_ray import Needs, _cluster, on_ray
from sapwood.trials.pool import KILLED
from sapwood.trials.turns import NotRun

HERE = Path(__file__).parent
PATIENCE = 240  # seconds


@pytest.fixture(scope="module")
def cluster():
    """Two cores of this machine."""
    ray, before = pytest.importorskip("ray", reason="the extra ray is not installed"), signal.getsignal(signal.SIGTERM)
    with _cluster(2, Needs()):
        assert signal.getsignal(signal.SIGTERM) is before, "a pool must be ended as it was without Ray"
        yield ray


def why_not(item):
    return NotRun("1 failed") if item == 2 else True


def test_outcomes_are_those_of_the_other_pools(cluster, tmp_path, monkeypatch):
    told = []
    outcomes = dict(on_ray(2)(square, [4, 1, 2, 3, 5], told.append))
    assert outcomes == {1: None, 2: None, 3: "ValueError: three is not allowed", 4: KILLED, 5: None}
    assert sorted(told) == [(1, 1), (2, 4), (5, 25)]
    told.clear()
    assert dict(on_ray(1, why_not)(square, [2, 1], told.append)) == {2: "1 failed", 1: None}
    assert told == [(1, 1)]
    monkeypatch.setattr(turns, "PAUSE", 0.0)
    left = tmp_path / "left"
    left.write_text("xx")
    assert dict(on_ray(2)(partial(in_use, left), [1, 2], told.append)) == {1: None, 2: None}
    assert [each for each in told if each[0] == 1] == [(1, 1), (1, "xx"), (1, "x"), (1, "")]
    assert cluster.is_initialized(), "a cluster that was there stays"


def test_an_item_waits_for_what_it_needs_and_workers_have_one_thread(cluster):
    over, told = [], []
    for item, error in on_ray(2, lambda item: item != 2 or 1 in over)(begun, [2, 1, 3], told.append):
        assert error is None
        over.append(item)
    assert told.index(("ended", 1)) < told.index(("begun", 2))
    told.clear()
    assert list(on_ray(1)(surroundings, ["a"], told.append)) == [("a", None)]
    assert told[0][0] == 1
    assert told[0][2] != os.getpid()


def test_a_full_disk_and_a_killed_worker_cost_nothing_that_is_not_made_again(cluster, tmp_path):
    """Ray starts the trial of the killed worker again by itself."""
    trouble_costs_nothing(on_ray(1), tmp_path)


def test_ctrl_c_in_the_driver_ends_the_workers_at_once(cluster):
    workers, began = [], time.monotonic()

    def tell(pid):
        workers.append(pid)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(on_ray(2)(sleepy, [1, 2, 3], tell))
    while not gone(workers[0]):
        assert time.monotonic() < began + PATIENCE, "it works on for nobody"  # it would sleep for 600
        time.sleep(0.1)


def test_a_driver_that_is_killed_takes_its_workers_along_and_what_they_did_is_gone_on_with(tmp_path):
    pytest.importorskip("ray", reason="the extra ray is not installed")
    driver = subprocess.Popen([sys.executable, HERE / "orphans.py", tmp_path, "ray"])
    mark, deadline = tmp_path / "busy", time.monotonic() + PATIENCE
    while not (mark.exists() and mark.read_text()):
        assert driver.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    while not gone(mark.read_text()):
        assert time.monotonic() < deadline, "it works on for nobody"
        time.sleep(0.1)
    assert gone_on_with(tmp_path / "trial") == undisturbed()


def test_what_cannot_be_is_one_error(monkeypatch):
    for wrong, says in (({"cpus": -1}, "cpus is -1; give a finite"), ({"gpus": float("nan")}, "gpus is nan"),
                        ({"gpus": 1.5}, "gpus is 1.5; above 1, Ray gives whole ones"),
                        ({"cpus": 0.0}, "cpus and gpus are both 0")):  # fmt: skip
        with pytest.raises(InputError, match=says):
            Needs(**wrong)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "ray", None)
        with pytest.raises(MissingExtra, match=r'--pool ray needs ray; run: pip install "sapwood\[ray\]"'):
            on_ray(2)
    pytest.importorskip("ray", reason="the extra ray is not installed")
    with pytest.raises(InputError, match="workers is 0; give at least 1"):
        on_ray(0)
