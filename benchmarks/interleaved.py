"""Interleaved: how the other benchmarks compare; run as a script it compares a function with itself: the noise here.

Every round runs each case once, in a new random order; ratios are taken inside a round, so that a machine that slows
down slows down both; what is said is the median over the rounds. CPU time is what the process used, whoever else was
on the cores; wall time is what a clock on the wall shows. One thread.
"""

import gc
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

import torch

Case = Callable[[], object]


@dataclass(frozen=True)
class Times:
    """Seconds of every round, case by case, on both clocks."""

    cpu: Mapping[str, list[float]]
    wall: Mapping[str, list[float]]

    def seconds(self, case: str) -> float:
        """The median CPU seconds of a case."""
        return median(self.cpu[case])

    def ratio(self, case: str, to: str, clock: str = "cpu") -> float:
        """The median over the rounds of case / to."""
        rounds: dict[str, list[float]] = getattr(self, clock)
        return median(one / other for one, other in zip(rounds[case], rounds[to], strict=True))

    def spread(self, case: str, to: str) -> float:
        """Half the interquartile range of the rounds' CPU ratios."""
        ratios = sorted(one / other for one, other in zip(self.cpu[case], self.cpu[to], strict=True))
        return (ratios[-1 - len(ratios) // 4] - ratios[len(ratios) // 4]) / 2


def compare(
    cases: Mapping[str, Case], rounds: int, times: Times | None = None, *, before: Callable[[], object] | None = None
) -> Times:
    """Times the cases side by side, after one round that is not counted; adds to `times` when it is given.

    `before` is run before each, and is not timed.
    """
    torch.set_num_threads(1)
    luck = random.Random(0)
    times = times or Times({name: [] for name in cases}, {name: [] for name in cases})
    gc.collect()
    for number in range(rounds + 1):
        for name in luck.sample(sorted(cases), len(cases)):
            if before is not None:
                before()
            cpu, wall = _timed(cases[name])
            if number:
                times.cpu[name].append(cpu)
                times.wall[name].append(wall)
    return times


def _timed(case: Case) -> tuple[float, float]:
    """CPU and wall seconds of one call."""
    cpu, wall = time.process_time(), time.perf_counter()
    case()
    return time.process_time() - cpu, time.perf_counter() - wall


if __name__ == "__main__":
    values = torch.rand(200, 784)

    def multiply() -> None:
        """Something of a training step's kind."""
        for _ in range(300):
            values @ values.T

    found = compare({"once": multiply, "again": multiply}, rounds=15)
    print(f"torch {torch.__version__}, 1 thread; the same work twice, 15 rounds:")
    print(f"ratio CPU {found.ratio('again', 'once'):.3f}, wall {found.ratio('again', 'once', 'wall'):.3f}, ", end="")
    print(f"+-{found.spread('again', 'once'):.3f}")
