"""What these tests share: methods that do little, jobs that fail on purpose; importable by worker processes."""

import math
import os
import signal
import time
from functools import wraps
from pathlib import Path

import torch

from sapwood.trials.execution import run_into
from sapwood.trials.folder import Busy
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


def killed_once(results, trial, tell):
    """A trial whose process is killed in its second epoch, once: it has been saved by then."""
    mark = results / trial.id / "killed"

    def telling(news):
        tell(news)
        if news.text.startswith("epoch 1") and not mark.exists():
            mark.write_text("")
            os.kill(os.getpid(), signal.SIGKILL)

    run_into(results, trial, telling)


def sleepy(item, tell):
    """Says its process, then would sleep for long."""
    tell(os.getpid())
    time.sleep(600)


def gone(pid):
    """Whether a process is over."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True
