"""Verdicts: the paper's three questions, and its exception, answered by the rows in a sentence each."""

from collections.abc import Mapping
from statistics import fmean

from sapwood.study.finals import goal_value, number_of
from sapwood.study.grid import Grid, number
from sapwood.study.questions import Gaps
from sapwood.study.rethought import named
from sapwood.study.seeds import summed_up, together
from sapwood.study.study import Finding
from sapwood.study.table import Summary, Table
from sapwood.study.words import difference, told

from .arms import MASKED, STRUCTURED, pairs

MISSING = "Not run at this scale."
FT, RANDOM = ("fine_tune", "pruned"), ("reinitialised", "pruned")
SCRATCH_E, SCRATCH_B = ("scratch_e", "pruned"), ("scratch_b", "pruned")
ASKED: dict[str, tuple[str, dict[str, tuple[str, str]]]] = {  # {what: (claim, {pruned arm: both})}
    "Scratch-B minus fine-tuning": (
        "1. Is the pruned architecture, trained from random weights for the same cost as the whole network, as good as "
        "fine-tuning what was inherited? (The paper: yes, for structured methods.)",
        pairs(STRUCTURED, SCRATCH_B, FT),
    ),
    "fine-tuning minus fine-tuning of random units": (
        "2. Are the weights that a criterion chose worth more than those of units drawn by luck? (The paper: hardly.)",
        pairs(STRUCTURED, FT, ("fine_tune", "units")),
    ),
    "Scratch-B of the pruned widths minus that of uniform ones": (
        "3. Is the architecture that was found better than uniform widths of as many multiply-adds? (The paper: only "
        "where the method chooses widths itself.)",
        pairs(STRUCTURED, SCRATCH_B, ("scratch_b", "uniform")),
    ),
    "fine-tuning minus Scratch-E, unstructured": (
        "The exception: at 95 % sparsity fine-tuning is at least as good as training the masked network from scratch.",
        pairs(MASKED, FT, SCRATCH_E),
    ),
}  # fmt: skip


def pooled(rows: Table, asked: Mapping[str, tuple[str, str]]) -> tuple[Summary | None, int]:
    """The mean over the comparisons that there are, seed by seed, and how many these are."""
    found = Gaps(goal_value, asked)(rows)
    return summed_up(together(found.values(), fmean)) if found else None, len(found)


def answer(rows: Table, what: str) -> str:
    """One sentence."""
    found, count = pooled(rows, ASKED[what][1])
    if found is None:
        return MISSING
    of = "one pruned network" if count == 1 else f"{count} pruned networks"
    return f"Test accuracy, {what}, mean of {of}: {difference(found)} points; {told(found, 'more', 'less')}."


def summary_of(rows: Table) -> list[str | Finding]:
    """The questions and their answers."""
    return [Finding(claim, answer(rows, what)) for what, (claim, _) in ASKED.items()]


def verdict(rows: Table) -> list[str]:
    """The same in short."""
    return [said for what in ASKED if (said := answer(rows, what)) != MISSING] or [MISSING]


def compared(rows: Table) -> Grid:
    """Every comparison by itself."""
    lines = [
        (arm, what, difference(each), told(each, "more", "less"))
        for what, (_, asked) in ASKED.items()
        for arm, gap in Gaps(goal_value, asked)(rows).items()
        if (each := summed_up(gap))
    ]
    return Grid(("pruned by", "test accuracy", "difference (points)", "so it is"), tuple(lines))


def protocols(rows: Table) -> Grid:
    """A line for each pruned arm: what the protocols reach, at which cost."""
    shown = {"FT": FT, "FT, random weights": RANDOM, "Scratch-E": SCRATCH_E, "Scratch-B": SCRATCH_B}
    left, cost = number_of("macs_left", "note", 100), number_of("cost", "note")
    lines = []
    for arm in (*STRUCTURED, *MASKED):
        cells = [number(summed_up(goal_value(rows, named(arm, *each))), 2) for each in shown.values()]
        longest = named(arm, *SCRATCH_B)
        if summed_up(left(rows, longest)):
            spent = (number(summed_up(of(rows, longest)), decimals) for of, decimals in ((left, 1), (cost, 3)))
            lines.append((arm, number(summed_up(goal_value(rows, arm)), 2), *cells, *spent))
    return Grid(("pruned by", "not tuned (%)", *(f"{name} (%)" for name in shown), "MACs left (%)",
                 "cost of Scratch-B (of the dense network's)"), tuple(lines))  # fmt: skip
