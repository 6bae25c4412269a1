"""Trials an hour on Ray and by processes: the same small trials, in turn, on two cores of this machine.

Twice: with what it takes to start the pool, and by the time from the first end of a trial to the last, which is what
counts where there are hundreds. Needs the extra ray.
"""

import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from sapwood.trials.execution import run_into
from sapwood.trials.on_ray import on_ray
from sapwood.trials.pool import Pool, processes
from sapwood.trials.trial import Trial

WORKERS, TRIALS, ROUNDS = 2, 60, 3


def trials(number: int) -> list[Trial]:
    """Small ones: a network for digits is pruned as it trains."""
    made = partial(Trial.make, epochs=6, cycles=4, first=0.01, target=0.8, stop="epochs", plateau=2)
    return [made("global_activation", "mlp_digits", seed, "G") for seed in range(number)]


def seconds(pool: Pool[Trial], number: int) -> tuple[float, float]:
    """How long all of it takes, and from the first end of a trial to the last."""
    began = time.monotonic()
    ends = []
    with TemporaryDirectory() as folder:
        for trial, error in pool(partial(run_into, Path(folder)), trials(number), lambda told: None):
            if error is not None:
                raise RuntimeError(f"seed {trial.seed}: {error}")
            ends.append(time.monotonic())
    return ends[-1] - began, ends[-1] - ends[0]


def measured(pools: Mapping[str, Pool[Trial]], number: int = TRIALS, rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Pool -> the medians over rounds of what `seconds` says; the pools take turns."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in pools}
    for _ in range(rounds):
        for name, pool in pools.items():
            taken[name].append(seconds(pool, number))
    return {name: [median(each) for each in zip(*values, strict=True)] for name, values in taken.items()}


def main() -> None:
    """The table."""
    found = measured({"processes": processes(WORKERS), "ray": on_ray(WORKERS)})
    print(f"{TRIALS} trials, {WORKERS} workers, median of {ROUNDS}      trials an hour   once it runs")
    for name, (whole, running) in found.items():
        print(f"{name:42} {3600 * TRIALS / whole:10,.0f} {3600 * (TRIALS - 1) / running:14,.0f}")
    ratios = [mine / theirs for mine, theirs in zip(found["processes"], found["ray"], strict=True)]
    print(f"{'ray over processes':42} {ratios[0]:10.2f} {ratios[1]:14.2f}")


if __name__ == "__main__":
    main()
