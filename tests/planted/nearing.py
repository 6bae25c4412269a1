"""Bugs planted in which penalty is nearest, whether its grid closes, and what a cycle in one layer costs."""

from planted.mutant import bugs, instead

from sapwood.checks import Laws
from sapwood.checks.law import demand
from sapwood.study import cost_report, nearest
from sapwood.study.nearest import Nearest

found = Nearest.found
GRID = Nearest({"plain": {0.1: "weak", 0.2: "middle", 0.3: "strong"}}, "pruned", "luck", (1,), 0.05)


def laws() -> Laws:
    return {
        "nearest: the nearest by the mean over seeds is taken": _mean,
        "nearest: a grid closes where weaker and stronger ones are further": _closes,
        "nearest: costs are compared at the largest size": _largest,
    }


def rows(**away):
    """Effective ranks of one layer, so far from those of the arm "pruned" in the natural log, two seeds each."""
    return [
        {"row": arm, "seed": seed, "task": "", "phase": 0, "epoch": 1, "split": "network", "metric": "nuclear_1",
         "value": 2.718281828459045**far}
        for arm, each in (away | {"pruned": (0.0, 0.0)}).items() for seed, far in enumerate(each)
    ]  # fmt: skip


def _mean() -> None:
    said = list(GRID.found(rows(weak=(0.1, 0.5), middle=(0.2, 0.2), strong=(0.4, 0.3), luck=(0.3, 0.3))))
    demand(said == ["middle"], f"nearest is {said}")


def _closes() -> None:
    for nearest_one, closed in (("middle", True), ("strong", False), ("weak", False)):
        away = {arm: (0.1, 0.1) if arm == nearest_one else (0.4, 0.4) for arm in ("weak", "middle", "strong")}
        said = GRID.found(rows(**away, luck=(0.3, 0.3)))
        demand(said == {nearest_one: closed}, f"where {nearest_one} is nearest, it says {said}")


def _largest() -> None:
    costs = (("one", 10, 3.0), ("all", 10, 1.0), ("one", 99, 1.0), ("all", 99, 4.0))
    table = [{"row": "cost", "split": kind, "weights": size, "metric": "seconds", "value": value}
             for kind, size, value in costs]  # fmt: skip
    said = cost_report.ratios(table, "one", "all")
    demand(said == {"seconds": 0.25}, f"1 s of 4 s is {said}")


MUTANTS = bugs("nearest", laws, {
    "the nearest by the mean over seeds is taken": {
        "the nearest of any seed is taken": instead(nearest, "fmean", min),
        "the furthest is taken": instead(nearest, "min", max),
    },
    "a grid closes where weaker and stronger ones are further": {
        "every grid is said to close": instead(
            Nearest, "found", lambda grid, rows: dict.fromkeys(found(grid, rows), True)
        ),
    },
    "costs are compared at the largest size": {
        "costs are compared at the smallest size": instead(
            cost_report, "sorted", lambda costs: sorted(costs, reverse=True)
        ),
    },
})  # fmt: skip
