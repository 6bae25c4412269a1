"""Compared: tables of arms beside a reference, seed by seed, and of the cycles that they made."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from sapwood.study.columns import by_arm, mean, said, seeds, show
from sapwood.study.finals import (
    ahead,
    at_end,
    best_value,
    cycles,
    epochs,
    goal_value,
    less,
    number_of,
    weights_left,
    zeros,
)
from sapwood.study.grid import NOTHING, Grid
from sapwood.study.table import Table

ZEROS, LEFT = mean("zeros (%)", zeros), mean("weights not 0 (number)", weights_left, 0)
CYCLES = mean("cycles (number)", cycles, 1)
MACS = mean("MACs (thousands)", number_of("flops", scale=0.5e-3), 1)
GOAL = mean("test {goal} ({unit})", goal_value)


def cycles_made(arms: Iterable[str], completed: Mapping[str, int]) -> Callable[[Table], Grid]:
    """A builder of the table of how many seeds completed how many cycles, beside the planned number and that of the
    paper's run, which is in `completed`.
    """
    names = tuple(arms)
    columns = ("arm", "seeds (n)", "planned (cycles)", "the paper's run (cycles)", "zeros (%)")

    def build(rows: Table) -> Grid:
        made = {arm: [int(n) for n in cycles(rows, arm).values()] for arm in names}
        most = range(max((n for values in made.values() for n in values), default=0) + 1)
        lines = []
        for arm, values in made.items():
            seen = Counter(values)
            planned = {str(int(n)) for n in at_end(rows, arm, "cycles_planned", "note").values()}
            known = (*(planned or {NOTHING}), str(completed.get(arm, NOTHING)), show(zeros(rows, arm)))
            lines.append((arm, str(len(values)), *known, *(str(seen[n]) if values else NOTHING for n in most)))
        return Grid((*columns, *(f"seeds that made {n} (n)" for n in most)), tuple(lines))

    return build


def against(reference: str, arms: Iterable[str]) -> Callable[[Table], Grid]:
    """A builder of the table of each arm's goal on the test set minus the reference's, seed by seed: of the last
    weights, and of the epoch with the best value on the validation set since the last prune.
    """
    gap, best_gap = less(goal_value, reference), less(best_value, reference)
    return by_arm(
        arms, seeds(), ZEROS, LEFT, CYCLES, mean("length (epochs)", epochs, 1), GOAL,
        mean(f"minus {reference}'s ({{points}})", gap, but=[reference]),
        said(f"than {reference}", gap, but=[reference]),
        mean("best by validation, test {goal} ({unit})", best_value),
        mean(f"minus {reference}'s best ({{points}})", best_gap, but=[reference]),
        said(f"than {reference}, best by validation", best_gap, but=[reference]),
    )  # fmt: skip


def lead(arms: Sequence[str]) -> Callable[[Table], Grid]:
    """A builder of the table of arms with how far the first of them is ahead of each other one in the goal."""
    first, gap = arms[0], ahead(goal_value, arms[0])
    return by_arm(
        arms, seeds(), MACS, ZEROS, CYCLES, GOAL,
        mean(f"{first} minus this ({{points}})", gap, but=[first]),
        said(f"{first} is", gap, "better", "worse", but=[first]),
    )  # fmt: skip
