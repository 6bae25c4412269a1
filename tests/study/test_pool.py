"""Pools: outcomes, progress in the parent, failures that stay their own, and workers that end."""

import multiprocessing
import os
import time
from functools import partial

import pytest
from toy import sleepy, small, square, surroundings

from sapwood.errors import InputError
from sapwood.study.pool import KILLED, processes, serial
from sapwood.study.run import run_into

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
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    told = []
    assert list(processes(1)(surroundings, ["a", "b"], told.append)) == [("a", None), ("b", None)]
    assert {each[:2] for each in told} == {(1, ("1", "1", "1"))}
    assert {each[2] for each in told}.isdisjoint({os.getpid()})
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ


def test_ctrl_c_in_the_parent_ends_the_workers_at_once():
    before, began = children(), time.monotonic()

    def tell(pid):
        assert pid in children()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(processes(2)(sleepy, [1, 2, 3], tell))
    assert children() == before
    assert time.monotonic() - began < 60


def test_closing_the_iterator_ends_the_workers():
    before = children()
    outcomes = processes(1)(square, [1, 2], lambda said: None)
    assert next(outcomes) == (1, None)
    outcomes.close()
    assert children() == before


def test_no_items_and_no_workers():
    assert list(processes(2)(square, [], print)) == []
    with pytest.raises(InputError, match="workers is 0; give at least 1"):
        processes(0)


def test_a_pool_of_processes_gives_the_same_rows_as_this_process(tmp_path):
    trials, told = [small(seed=seed, epochs=1) for seed in (0, 1)], []
    assert dict(processes(2)(partial(run_into, tmp_path / "pool"), trials, told.append)) == dict.fromkeys(trials)
    assert dict(serial(partial(run_into, tmp_path / "here"), trials, told.append)) == dict.fromkeys(trials)
    for trial in trials:
        one, other = (tmp_path / place / trial.id / "rows.jsonl" for place in ("pool", "here"))
        assert one.read_bytes() == other.read_bytes() != b""
    assert sum(news.finished for news in told) == 4
