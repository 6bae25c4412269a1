"""What these tests share: methods that do little, jobs that fail on purpose; importable by worker processes."""

import math
import os
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from functools import cache, partial, wraps
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from sapwood import checkpoint
from sapwood.methods import METHODS
from sapwood.trials.execution import finished, run_into, run_trial
from sapwood.trials.folder import Busy, rows_of
from sapwood.trials.pool import serial
from sapwood.trials.trial import Trial


class Interrupted(Exception):
    """What stands in for a crash."""


def dying_after(method, moments, after=False):
    """The method of a trial, but it dies after so many moments, when its consumer asks for the next.

    `after`: not before the inner method has gone on, so that the step's save is made. Of a trial that saves after every
    step only the last saves are made: one takes ten times as long as a step, and the others are overwritten.
    """

    @wraps(method)
    def dying(run, **options):
        inner, record = method(run, **options), run.between.__self__
        often, never = record.save, record.save._replace(every=math.inf)
        for count, moment in enumerate(inner, start=1):
            record.save = often if count >= moments - 2 else never
            yield moment
            if count == moments:
                if after:
                    next(inner, None)
                raise Interrupted

    return dying


def small(row="G", seed=0, **changes):
    """A trial that prunes three times within two epochs."""
    options = {"epochs": 2, "cycles": 2, "first": 0.01, "target": 0.9, "stop": "epochs", "plateau": 1} | changes
    return Trial.make("global_activation", "mlp_digits", seed, row, **options)


def square(item, tell):
    """Says the square; 3 is an error, 4 kills its process."""
    if item == 3:
        raise ValueError("three is not allowed")
    if item == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    tell((item, item * item))


def begun(item, tell):
    """Says its begin and its end, half a second apart."""
    tell(("begun", item))
    time.sleep(0.5)
    tell(("ended", item))


def surroundings(item, tell):
    """Says what a worker finds around it."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    deaf = signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])  # as nothing but its birth made it
    tell((torch.get_num_threads(), tuple(os.environ.get(name) for name in names), os.getpid(), deaf))


def in_use(left, item, tell):
    """1 is in use by another process as often as the file has letters."""
    there = left.read_text() if item == 1 else ""
    tell((item, there))
    if there:
        left.write_text(there[1:])
        raise Busy("another process is at it")


def sleepy(item, tell):
    """Says its process, then would sleep for long."""
    tell(os.getpid())
    time.sleep(600)


@cache
def undisturbed():
    """The rows of a small trial, and a fingerprint of its network."""
    with TemporaryDirectory() as folder:
        run_trial(small(), Path(folder))
        return ended(folder)


def gone_on_with(folder):
    """What a small trial leaves that a killed process has begun, whose lock goes when all its threads have."""
    for _ in range(2400):
        with suppress(Busy):
            run_trial(small(), folder)
            return ended(folder)
        time.sleep(0.1)
    raise AssertionError("its lock is still there")


def ended(folder):
    """What a trial left: its rows, and a fingerprint of its network."""
    weights = checkpoint.read(Path(folder, "weights.safetensors"))
    return Path(folder, "rows.jsonl").read_bytes(), checkpoint.fingerprint(weights)


def gone(pid):
    """Whether a process is over."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


@contextmanager
def little_room(where, size):
    """A file system of so many bytes, and what gives it 4 MB; whoever may not mount one does without the test."""
    where.mkdir(parents=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", where], capture_output=True).returncode:
        import pytest

        pytest.skip("only root can mount a small file system")
    try:
        yield lambda: subprocess.run(["mount", "-o", "remount,size=4m", where], check=True)
    finally:
        subprocess.run(["umount", where], check=True)


def saved_at_epochs(results, kills, trial, tell):
    """A trial that is saved around each epoch's end; `kills`: that of seed 1 is killed in its second epoch, once."""
    saved_in(results / trial.id, trial, tell, kills and trial.seed == 1)


def saved_in(folder, trial, tell, kill=False):
    """The same in a folder of any name."""
    method, mark = METHODS[trial.method], folder / "killed"

    @wraps(method)
    def saving(run, **options):
        record = run.between.__self__
        often, never = record.save, record.save._replace(every=math.inf)
        for moment in method(run, **options):
            record.save = often if abs(moment.step % run.task.steps_per_epoch - 1) <= 1 else never
            yield moment
            if kill and moment.epoch == 2 and not mark.exists():
                mark.write_text("")
                os.kill(os.getpid(), signal.SIGKILL)

    METHODS[trial.method] = saving
    try:
        run_trial(trial, folder, save_every=0.0, tell=tell)
    finally:
        METHODS[trial.method] = method


def trouble_costs_nothing(pool, folder, killed=None):
    """A disk that is full while one trial writes, and another's killed worker, which is told as `killed`.

    Each has one message and takes nothing from the other; taken up again, both end with the rows of `serial`.
    """
    full, torn = small(seed=0), small(seed=1)
    list(serial(partial(run_into, folder / "whole"), [full, torn], print))
    kills, results = pool is not serial, folder / "results"
    with little_room(results / full.id, 300 * 1024) as give_room:  # enough for the states before it prunes
        outcomes, items = [], [torn, full, *[torn] * kills, full]
        for trial, error in pool(partial(saved_at_epochs, results, kills), items, print):
            outcomes.append((trial.seed, error))
            if error and trial == full:
                _whole_as_far_as_it_goes(results / full.id)
                before = (results / torn.id / "rows.jsonl").read_bytes()
                give_room()
        said = f"cannot write {results}/{full.id}/state.safetensors: No space left on device; free some space or choose"
        assert outcomes[1] == (0, f"{said} a folder that can be written")
        assert [outcomes[0], *outcomes[2:]] == [(1, killed), *[(1, None)] * kills, (0, None)]
        assert (results / torn.id / "killed").exists() == kills
        for trial in (full, torn):
            assert finished(results / trial.id)
            for name in ("rows.jsonl", "weights.safetensors"):
                assert (results / trial.id / name).read_bytes() == (folder / "whole" / trial.id / name).read_bytes()
        assert (results / torn.id / "rows.jsonl").read_bytes().startswith(before)
        assert before


def _whole_as_far_as_it_goes(folder):
    """Nothing is half written, and the state before stays."""
    assert {each.name for each in folder.iterdir()} - {"failed"} == {"trial.json", "rows.jsonl", "state.safetensors"}
    assert checkpoint.read(folder / "state.safetensors")["step"] > 0
    assert rows_of(folder)
