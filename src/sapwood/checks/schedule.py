"""Laws of schedules: steps on time, inside bounds, never falling, landing on the end; shares that add up."""

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise, product

from sapwood.checks.law import Laws, Result, demand, demand_refused, tried
from sapwood.selection.schedule import Schedule, Shares

Maker = Callable[..., Schedule]  # (begin, end, every, final, *, initial, land)
CASES = ((0, 1000, 100, 0.875, 0.0), (7, 1003, 50, 0.9, 0.5), (5, 5, 1, 0.3, 0.0), (0, 10, 3, 0.99, 0.2))
TOTALS, CYCLES = (0.0, 0.1, 0.5, 0.8, 0.95, 0.999), (1, 2, 3, 5, 10, 40)


def check_schedule(name: str, make: Maker) -> list[Result]:
    """The laws of step schedules, tried on what `make` returns."""
    return tried(laws(name, make))


def laws(name: str, make: Maker) -> Laws:
    """The laws of step schedules about what `make` returns, not yet tried."""
    bodies: dict[str, Callable[[Maker], None]] = {
        "never falls, and stays between initial and final": _monotone,
        "due at begin, every so many steps, and never outside the span": _on_time,
        "lands on its final sparsity exactly": _lands,
        "the same answer twice": _twice,
    }
    return {f"schedule {name}: {law}": partial(body, make) for law, body in bodies.items()}


def check_shares(name: str, divide: Shares) -> list[Result]:
    """The laws of shares, tried on `divide`."""
    return tried(laws_of_shares(name, divide))


def laws_of_shares(name: str, divide: Shares) -> Laws:
    """The laws of shares about `divide`, not yet tried."""
    bodies: dict[str, Callable[[Shares], None]] = {
        "one share a cycle, which sum to the total": _sum,
        "never rise from one cycle to the next": _never_rise,
        "a total outside [0, 1) and no cycles are refused": _refuse,
    }
    return {f"shares {name}: {law}": partial(body, divide) for law, body in bodies.items()}


def _values(make: Maker, case: tuple[int, int, int, float, float]) -> dict[int, float]:
    begin, end, every, final, initial = case
    wanted = make(begin, end, every, final, initial=initial)
    answers = {step: wanted(step) for step in range(end + 3 * every)}
    return {step: s for step, s in answers.items() if s is not None}


def _monotone(make: Maker) -> None:
    for case in CASES:
        found = list(_values(make, case).values())
        demand(all(a <= b for a, b in pairwise(found)), f"{case}: the sparsity falls")
        demand(all(case[4] <= s <= case[3] for s in found), f"{case}: outside {case[4]}..{case[3]}")


def _on_time(make: Maker) -> None:
    for case in CASES:
        begin, end, every, *_ = case
        expected = sorted({*range(begin, end + 1, every), end})
        demand(
            list(_values(make, case)) == expected,
            f"{case}: due at {list(_values(make, case))[:5]}..., not {expected[:5]}...",
        )


def _lands(make: Maker) -> None:
    for case in CASES:
        demand(_values(make, case).get(case[1]) == case[3], f"{case}: does not end on {case[3]}")


def _twice(make: Maker) -> None:
    for case in CASES:
        demand(_values(make, case) == _values(make, case), f"{case}: two schedules differ")


def _sum(divide: Shares) -> None:
    for total, cycles in product(TOTALS, CYCLES):
        shares = divide(total, cycles)
        demand(len(shares) == cycles, f"{len(shares)} shares for {cycles} cycles")
        demand(
            math.isclose(math.fsum(shares), total, rel_tol=1e-12), f"{cycles} shares sum to {sum(shares)}, not {total}"
        )


def _never_rise(divide: Shares) -> None:
    for total, cycles in product(TOTALS, CYCLES):
        shares = divide(total, cycles)
        demand(all(b <= a for a, b in pairwise(shares)) and shares[-1] >= 0, f"{total} in {cycles} cycles: {shares}")


def _refuse(divide: Shares) -> None:
    for total, cycles in ((-0.1, 2), (1.0, 2), (float("nan"), 2), (0.5, 0)):
        demand_refused(partial(divide, total, cycles), f"a total of {total} in {cycles} cycles")
