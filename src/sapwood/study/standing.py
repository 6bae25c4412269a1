"""Standing: how a claim stands by comparisons of arms, in a word, by one rule for all claims.

A comparison speaks for a claim where the 95 % interval of its differences lies on the claim's side of 0, and against it
where it lies on the other side. A comparison without an interval does not speak.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal, get_args

from sapwood.study.seeds import summed_up
from sapwood.study.study import Finding, Standing
from sapwood.study.words import Pairs, told

Claimed = Literal["higher", "lower", "no lower", "alike"]  # what a claim says of a first arm minus a second
RULE: dict[Standing, str] = {
    "holds": "more than half of the comparisons speak for it, and none against it",
    "holds in part": "some speak for it and none against it, or a part of it holds",
    "not supported": "neither it nor the opposite is shown",
    "contradicted": "more than half speak against it, and none for it",
    "cannot be told": "it says that two things are as good or alike, which so few seeds cannot show, or the arms for "
    "it have not been run",
}
SIDES = {"higher": ("more", "less"), "lower": ("less", "more"), "no lower": ("more", "less")}
VERBS: dict[Standing, tuple[str, str]] = {
    "holds": ("holds", "hold"),
    "holds in part": ("holds in part", "hold in part"),
    "not supported": ("is not supported", "are not supported"),
    "contradicted": ("is contradicted", "are contradicted"),
    "cannot be told": ("cannot be told", "cannot be told"),
}


def stands(claimed: Claimed, comparisons: Iterable[Pairs]) -> Standing:
    """How a claim stands by the differences, seed by seed, of all comparisons together; see `RULE`."""
    found = [summed_up(values) for pairs in comparisons for values in pairs.values()]
    said = Counter(told(each, "more", "less") for each in found if each and each.low is not None)
    if not said:
        return "cannot be told"
    if claimed == "alike":
        return "contradicted" if 2 * (said["more"] + said["less"]) > said.total() else "cannot be told"
    for_it, against = (said[side] for side in SIDES[claimed])
    how = _speaking(for_it, against, said.total())
    return "cannot be told" if claimed == "no lower" and how in ("holds in part", "not supported") else how


def speaking(for_it: int, against: int, every: int, *, equality: bool) -> Standing:
    """How a claim stands for which, and against which, so many of all comparisons speak.

    Where it says that two things are as good, and nothing speaks, it cannot be told.
    """
    return "cannot be told" if (equality and not for_it + against) or not every else _speaking(for_it, against, every)


def _speaking(for_it: int, against: int, every: int) -> Standing:
    if for_it and not against:
        return "holds" if 2 * for_it > every else "holds in part"
    return "contradicted" if 2 * against > every and not for_it else "not supported"


def as_whole(parts: Sequence[Standing]) -> Standing:
    """How a claim of several parts stands."""
    kinds = set(parts)
    if kinds == {"holds"}:
        return "holds"
    if kinds & {"holds", "holds in part"}:
        return "holds in part"
    orderly: tuple[Standing, ...] = ("contradicted", "not supported", "cannot be told")
    return next(each for each in orderly if each in kinds)


def as_said(found: Sequence[bool]) -> Standing:
    """How a claim stands of which this and that can be looked up: all of it, some, or none is as it says."""
    if not found:
        return "cannot be told"
    return "holds" if all(found) else "holds in part" if any(found) else "contradicted"


def in_a_sentence(standing: Standing | None) -> str:
    """What one claim does: "holds", "is not supported"."""
    return VERBS[standing or "cannot be told"][0]


def tally(findings: Iterable[Finding], claims: str) -> str:
    """ "Of the paper's 3 claims, 1 holds, 2 are not supported.", where `claims` is "the paper's {} claims".

    Findings without a standing do not count.
    """
    counted = Counter(each.standing for each in findings if each.standing)
    parts = [f"{counted[each]} {VERBS[each][counted[each] > 1]}" for each in get_args(Standing) if counted[each]]
    return f"Of {claims.format(counted.total())}, {', '.join(parts)}." if parts else ""
