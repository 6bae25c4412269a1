"""Two trial processes with one thread each, beside one: trials per hour, and that no process has more threads.

The trials are real: the digits network, trained and pruned, in folders of their own. Each round runs the same number of
trials with one worker and with two, in turn; workers are started once and then warm, as in a sweep, which is
long beside starting and ending them. Wall time, since that is what a sweep costs.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from threadpoolctl import threadpool_info

from sapwood.trials.execution import run_trial
from sapwood.trials.pool import processes
from sapwood.trials.trial import Trial

TARGET = 1.8
WARM = "warm"  # an item that makes a worker ready, and say how many threads it has


def job(results: Path, item: tuple[str, Trial], tell: object) -> None:
    """A trial, or the warm-up: a short trial, so that all that is imported late is there, scikit-learn's digits too."""
    (label, _, workers), trial = item[0].partition(" "), item[1]
    if label == WARM:
        assert callable(tell)
        run_trial(trial, results / label / trial.id)
        tell(max([torch.get_num_threads(), *(each["num_threads"] for each in threadpool_info())]))
        (results / f"ready {os.getpid()}").touch()
        while len(list(results.glob("ready *"))) < int(workers):  # until all workers are as far
            time.sleep(0.01)
        return
    run_trial(trial, results / label / trial.id)


def trials(count: int, label: str) -> list[tuple[str, Trial]]:
    """So many trials that differ in their seed."""
    options: dict[str, Any] = {"stop": "epochs", "epochs": 60, "plateau": 3}
    return [(label, Trial.make("global_activation", "mlp_digits", seed, **options)) for seed in range(count)]


def seconds(workers: int, count: int) -> tuple[float, list[int]]:
    """Wall seconds for `count` trials once the workers are warm; the threads that each worker has."""
    threads: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        warm = [(f"{WARM} {workers}", Trial.make("dense", "mlp_digits", seed, epochs=1)) for seed in range(workers)]
        ends = processes(workers)(partial(job, Path(folder)), warm + trials(count, "timed"), threads.append)
        return _timed(ends), [each for each in threads if isinstance(each, int)]


def _timed(ends: Iterator[tuple[tuple[str, Trial], str | None]]) -> float:
    """From the first end, when all workers are warm, since they wait for each other, to the last trial's."""
    moments = []
    for _, error in ends:
        if error is not None:
            raise RuntimeError(error)
        moments.append(time.perf_counter())
    return moments[-1] - moments[0]


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--trials", type=int, default=8)
    chosen = options.parse_args()
    luck, ratios, threads = random.Random(0), [], set()
    for number in range(chosen.rounds):
        times: dict[int, float] = {}
        for workers in luck.sample((1, 2), 2):
            times[workers], seen = seconds(workers, chosen.trials)
            threads.update(seen)
        ratios.append(times[1] / times[2])
        print(
            f"round {number + 1}: one worker {times[1]:.1f} s, two {times[2]:.1f} s, ratio {ratios[-1]:.2f}", flush=True
        )
    print(f"trials per hour, two workers to one: {median(ratios):.2f} (median of {chosen.rounds}); {TARGET} wanted")
    print(f"most threads in any worker: {max(threads)}")
    sys.exit(median(ratios) < TARGET or max(threads) > 1)
