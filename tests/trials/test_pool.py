"""Pools: outcomes, progress in the parent, failures that stay their own, and workers that end."""

import multiprocessing
import os
import signal
import time
from functools import partial

import pytest
from toy import begun, in_use, sleepy, small, square, surroundings, trouble_costs_nothing

from sapwood.errors import InputError
from sapwood.trials import turns
from sapwood.trials.execution import finished, run_into
from sapwood.trials.pool import KILLED, _fill, processes, serial
from sapwood.trials.trial import Trial
from sapwood.trials.turns import NotRun, Turns

NAMES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def children():
    return {child.pid for child in multiprocessing.active_children()}


def refuse(item, tell):
    raise InputError(f"{item} is bad")


def test_serial_goes_in_order_and_past_a_failure():
    told = []
    assert list(serial(square, [1, 3, 2], told.append)) == [
        (1, None),
        (3, "ValueError: three is not allowed"),
        (2, None),
    ]
    assert told == [(1, 1), (2, 4)]
    assert list(serial(refuse, [7], told.append)) == [(7, "7 is bad")]


def test_two_processes_do_all_items_past_failures_and_a_killed_worker():
    told, before = [], children()
    outcomes = dict(processes(2)(square, [4, 1, 2, 3, 5, 6], told.append))
    assert outcomes == {1: None, 2: None, 3: "ValueError: three is not allowed", 4: KILLED, 5: None, 6: None}
    assert sorted(told) == [(1, 1), (2, 4), (5, 25), (6, 36)]
    assert children() == before


def test_workers_have_one_thread_and_the_parents_environment_is_as_before(monkeypatch):
    """And Ctrl-C does not reach them from their first moment on: it is their parent's business."""
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    told = []
    assert list(processes(1)(surroundings, ["a", "b"], told.append)) == [("a", None), ("b", None)]
    assert {each[:2] for each in told} == {(1, ("1", "1", "1"))}
    assert {each[3] for each in told} == {True}
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    assert {each[2] for each in told}.isdisjoint({os.getpid()})
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ


def test_ctrl_c_in_the_parent_ends_the_workers_at_once():
    before, stopped = children(), []

    def tell(pid):
        assert pid in children()
        stopped.append(time.monotonic())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(processes(2)(sleepy, [1, 2, 3], tell))
    assert children() == before
    assert time.monotonic() - stopped[0] < 300, "they were waited for"  # they sleep for 600


def test_closing_the_iterator_ends_the_workers():
    before = children()
    outcomes = processes(1)(square, [1, 2], lambda said: None)
    assert next(outcomes) == (1, None)
    outcomes.close()
    assert children() == before


def test_an_item_is_not_begun_before_those_it_needs_are_there():
    needs, over, told = {2: 1, 4: 2}, [], []

    def ready(item):
        return item not in needs or needs[item] in over

    for item, error in processes(2, ready)(begun, [1, 2, 4, 5, 6], told.append):
        assert error is None
        over.append(item)
    begin, end = ({item: at for at, (word, item) in enumerate(told) if word == said} for said in ("begun", "ended"))
    assert sorted(over) == [1, 2, 4, 5, 6]
    assert end[1] < begin[2] < end[2] < begin[4]


class Place:
    """What stands in for a worker's slot."""

    def __init__(self, running=None):
        self.running = running

    def take(self, job, item):
        self.running = item


def test_a_free_worker_takes_the_first_item_that_is_ready():
    places, queue = [Place(1), Place(), Place()], Turns([2, 4, 5, 6], lambda item: item > 4)
    assert list(_fill(places, queue, refuse)) == []
    assert ([place.running for place in places], queue.waiting) == ([1, 5, 6], [2, 4])
    places[1].running = None
    assert list(_fill(places, queue, refuse)) == []
    assert ([place.running for place in places], queue.waiting) == ([1, None, 6], [2, 4])


def why_not(item):
    return NotRun("1 failed") if item == 2 else item != 3


def test_what_can_never_be_ready_is_over_at_once_and_says_why():
    """2 is told why and no job sees it, the others go on; 3, which is never ready, is tried at the end."""
    for pool in (partial(serial, ready=why_not), processes(2, why_not)):
        told = []
        outcomes = list(pool(square, [2, 3, 1], told.append))
        assert sorted(outcomes) == [(1, None), (2, "1 failed"), (3, "ValueError: three is not allowed")]
        assert outcomes[-1][0] == 3
        assert isinstance(dict(outcomes)[2], NotRun)
        assert told == [(1, 1)]


def test_what_another_process_has_in_use_comes_again_after_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr(turns, "PAUSE", 0.0)
    for pool in (serial, processes(1)):
        told = []
        left = tmp_path / "left"
        left.write_text("xxx")  # so often it is in use
        outcomes = list(pool(partial(in_use, left), [1, 2, 3], told.append))
        assert outcomes == [(2, None), (3, None), (1, None)]
        assert told == [(1, "xxx"), (2, ""), (3, ""), (1, "xx"), (1, "x"), (1, "")]


def test_when_nothing_is_ready_and_nothing_at_work_the_next_is_tried_and_says_why():
    assert list(processes(2, lambda item: item not in (7, 8))(refuse, [7, 1, 8], print)) == [
        (1, "1 is bad"),
        (7, "7 is bad"),
        (8, "8 is bad"),
    ]


def test_with_two_workers_a_trial_waits_for_the_one_it_goes_on_from(tmp_path):
    parent, other = small(epochs=1), small(seed=1, epochs=1)
    child = Trial.make("dense", "mlp_digits", 0, "child", epochs=1, stop="epochs").after(start=parent)
    orphan = Trial.make("dense", "mlp_digits", 0, "orphan", epochs=1, stop="epochs").after(start=small(seed=9))
    told = []

    def ready(trial):
        return all(finished(tmp_path / each.id) for _, each in trial.uses)

    found = dict(processes(2, ready)(partial(run_into, tmp_path), [parent, child, orphan, other], told.append))
    assert [found[trial] for trial in (parent, child, other)] == [None] * 3
    assert found[orphan].startswith("arm 'orphan' goes on from arm 'G', seed 9, which is not finished in ")
    words = [(news.trial_id, news.text) for news in told]
    assert words.index((parent.id, "done")) < words.index((child.id, "starting"))
    assert len((tmp_path / orphan.id / "failed").read_text().splitlines()) > 1


def test_no_items_and_no_workers():
    assert list(processes(2)(square, [], print)) == []
    with pytest.raises(InputError, match="workers is 0; give at least 1"):
        processes(0)


@pytest.mark.parametrize(("pool", "killed"), [(serial, None), (processes(1), KILLED)])
def test_a_full_disk_and_a_killed_worker_cost_nothing_that_is_not_made_again(tmp_path, pool, killed):
    """And a pool of processes gives the rows of this process."""
    trouble_costs_nothing(pool, tmp_path, killed)
