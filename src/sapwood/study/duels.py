"""Duels: two sides, each with the arm that is its best on validation images, compared on test images seed by seed.

Which arm stands for a side is a choice, so it is made where no test image is asked. A side is *better* than another if
the 95 % interval of the difference lies above 0, and *at least equal* if it reaches 0 or more and the mean is not below
so many points under it: with few seeds an interval is wide, and would let much pass.
"""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from sapwood.study.finals import Number, goal_value
from sapwood.study.seeds import Seeds, minus, summed_up
from sapwood.study.table import Summary, Table

BETTER, EQUAL, LESS, OPEN = "better", "at least equal", "less", "cannot be told from one seed"


class Duel(NamedTuple):
    """What was compared: the first side's arm, the second's, and the first's goal minus the second's."""

    ours: str
    theirs: str
    gap: Summary


def best(rows: Table, arms: Iterable[str]) -> str | None:
    """The arm with the highest mean of its goal on the validation split; the first of equals; None without any rows."""
    found = {arm: summed_up(goal_value(rows, arm, "valid")) for arm in arms}
    known = {arm: each.mean for arm, each in found.items() if each}
    return max(known, key=lambda arm: known[arm]) if known else None


def ranked(rows: Table, arms: Mapping[str, Sequence[str]]) -> list[str]:
    """Names, the best first, by the mean over their arms on the validation split; those with an arm not run are out."""
    found = {name: [summed_up(goal_value(rows, arm, "valid")) for arm in its] for name, its in arms.items()}
    worth = {name: fmean(each.mean for each in its if each) for name, its in found.items() if its and all(its)}
    return sorted(worth, key=lambda name: -worth[name])


def behind(reference: str) -> Number:
    """The goal on test images of a reference with one seed, such as a network that was given, minus an arm's.

    `reference` may have {} in it, which stands for the arm's name up to the first comma.
    """

    def lost(rows: Table, arm: str) -> Seeds:
        whole = list(goal_value(rows, reference.format(arm.partition(",")[0])).values())
        return {seed: whole[0] - value for seed, value in goal_value(rows, arm).items()} if whole else {}

    return lost


def duel(rows: Table, ours: Iterable[str], theirs: Iterable[str]) -> Duel | None:
    """The best of each side; None unless both have rows of the same seeds."""
    one, other = best(rows, ours), best(rows, theirs)
    gap = summed_up(minus(goal_value(rows, one), goal_value(rows, other))) if one and other else None
    return Duel(one, other, gap) if one and other and gap else None


def judged(gap: Summary, points: float) -> str:
    """BETTER, EQUAL, LESS, or OPEN where there is no interval."""
    if gap.low is None or gap.high is None:
        return OPEN
    return BETTER if gap.low > 0 else EQUAL if gap.high >= 0 and gap.mean >= -points else LESS


def tallied(duels: Sequence[Duel], points: float) -> str:
    """ "At least equal in 5 of 5, better in 2: met." Asked for is: at least equal in all, better in one."""
    said = [judged(each.gap, points) for each in duels]
    if OPEN in said:
        return f"{len(said)} compared: {OPEN}."
    equal, better = sum(each != LESS for each in said), said.count(BETTER)
    met = "met" if equal == len(said) and better else "not met"
    return f"At least equal in {equal} of {len(said)}, better in {better}: {met}." if said else ""
