"""Latency: how long the same inputs take through several networks, timed side by side.

Cases take turns within every round, so that a slow moment of the machine hits all of them; comparisons are made
inside a round and only then summarised.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from sapwood.errors import InputError
from sapwood.measure.example import Example, arguments, as_tuple
from sapwood.scoring.untouched import untouched

LARGEST = 31 << 20  # bytes: the largest size that glibc remembers is a little above


@dataclass(frozen=True)
class Timing:
    """Seconds of one call, over all rounds: the median, the quartiles as its spread, and the fastest."""

    median: float
    lower: float  # first quartile
    upper: float  # third quartile
    fastest: float
    batch: int  # samples per call
    threads: int
    rounds: tuple[float, ...] = field(repr=False)  # seconds, in order: round i of cases timed together is one moment


@dataclass(frozen=True)
class Ratio:
    """How many times as long one case took as another, round by round: median and quartiles."""

    median: float
    lower: float
    upper: float
    batch: int
    threads: int


def latency(
    cases: Mapping[str, Callable[..., Any]],
    inputs: Example,
    *,
    threads: int = 1,
    rounds: int = 50,
    warmup: int = 5,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Timing]:
    """Seconds that each case takes on `inputs`, by name; a case is a module or anything callable.

    Every round calls every case once; the order moves on by one case per round, so that none is always first.
    The first dimension of the first tensor counts samples. Modules run in evaluation mode, everything inside inference
    mode (a case that cannot, such as torch's CSR products, opens `torch.inference_mode(False)` and `torch.no_grad()`
    itself). Modes, thread count and random numbers are as before afterwards. On a crowded machine with one thread,
    `clock=time.process_time` counts the time worked, not the time waited.

    >>> times = measure.latency({"dense": nn.Linear(8, 8), "twice": nn.Linear(8, 16)}, torch.rand(4, 8), rounds=4)
    >>> sorted(times)
    ['dense', 'twice']
    """
    given = as_tuple(inputs)
    tensors = [x for x in pytree.tree_leaves(given) if isinstance(x, Tensor)]
    _refuse_nothing_to_time(cases, tensors)
    _refuse_bad_numbers(threads, rounds, warmup)
    modules = [case for case in cases.values() if isinstance(case, nn.Module)]
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    _settle_memory()
    with untouched(*modules), torch.inference_mode(), _threads(threads):
        for number in range(warmup + rounds):
            for name in _turn(list(cases), number):
                took = _time(cases[name], given, tensors[0], clock)
                if number >= warmup:
                    seconds[name].append(took)
    return {name: _summary(each, len(tensors[0]), threads) for name, each in seconds.items()}


def _settle_memory() -> None:
    """Free one large block, so that a young process is timed as one that has run for a while.

    glibc hands memory back to the system, to fetch it anew in the next pass, unless it has freed a block of that size
    before; it remembers sizes up to 32 MiB. In a young process a network with large activations takes a quarter longer,
    and a smaller one seems to gain more than it does.
    """
    torch.empty(LARGEST, dtype=torch.uint8)


def ratio(a: Timing, b: Timing) -> Ratio:
    """Time of a / time of b: median and quartiles of the ratios within each round.

    Both must come from one call of `latency`; below 1, a is the faster one.
    """
    if (len(a.rounds), a.batch, a.threads) != (len(b.rounds), b.batch, b.threads):
        raise InputError(
            f"timings differ in (rounds, batch, threads): {len(a.rounds), a.batch, a.threads} and "
            f"{len(b.rounds), b.batch, b.threads}; time both in one call of latency()"
        )
    if min(b.rounds) <= 0:
        raise InputError("a round took 0 seconds on this clock; use a finer clock or larger inputs")
    lower, middle, upper = _quartiles([x / y for x, y in zip(a.rounds, b.rounds, strict=True)])
    return Ratio(middle, lower, upper, a.batch, a.threads)


def verdict(masked: Timing, dense: Timing) -> str:
    """In plain words: faster, slower, or, when the quartiles of the ratio enclose 1, not faster."""
    found = ratio(masked, dense)
    word = "faster" if found.upper < 1 else "slower" if found.lower > 1 else "not faster"
    return (
        f"{word}: takes {found.median:.2f} times as long (quartiles {found.lower:.2f} to {found.upper:.2f}), "
        f"batch {found.batch}, threads {found.threads}"
    )


def _turn(names: list[str], number: int) -> list[str]:
    first = number % len(names)
    return names[first:] + names[:first]


def _time(case: Callable[..., Any], inputs: tuple[Any, ...], first: Tensor, clock: Callable[[], float]) -> float:
    args, kwargs = arguments(case, inputs)
    _wait_for(first)
    start = clock()
    case(*args, **kwargs)
    _wait_for(first)
    return clock() - start


def _wait_for(first: Tensor) -> None:
    """An accelerator returns before it has computed; the clock must not."""
    if first.is_cuda:
        torch.cuda.synchronize(first.device)


def _summary(seconds: Sequence[float], batch: int, threads: int) -> Timing:
    lower, middle, upper = _quartiles(seconds)
    return Timing(middle, lower, upper, min(seconds), batch, threads, tuple(seconds))


def _quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    lower, middle, upper = statistics.quantiles(values, n=4, method="inclusive")
    return lower, middle, upper


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _refuse_nothing_to_time(cases: Mapping[str, object], inputs: Sequence[Tensor]) -> None:
    if not cases or not inputs or inputs[0].ndim == 0:
        raise InputError(
            f"latency() was given {len(cases)} cases and inputs of shapes {[tuple(x.shape) for x in inputs]}; "
            "give at least one callable and one tensor [samples, ...]"
        )


def _refuse_bad_numbers(threads: int, rounds: int, warmup: int) -> None:
    if threads < 1 or rounds < 4 or warmup < 0:
        raise InputError(
            f"threads is {threads}, rounds {rounds}, warmup {warmup}; "
            "give at least 1 thread, 4 rounds (there are quartiles to find) and no negative warmup"
        )
