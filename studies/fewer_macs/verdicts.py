"""Verdicts, by a rule that was written before the first row.

At each budget *ours* is the best of our ways by validation images after recovery, *theirs* the best of Torch-Pruning's;
distilled arms do not take part. Asked for, in the words of `study.duels`: at least equal at every budget, where a mean
0.3 points below is not equal whatever the interval, and better at one. `prune` with its defaults, which nobody chose,
is held to the same. ResNet-20 at 73 % must lose less than FastNAS prints; with distillation, too, which is said apart.
"""

from collections.abc import Callable, Iterable
from statistics import fmean

from sapwood.study.columns import Column, by_arm, mean, seeds, show
from sapwood.study.duels import Duel, behind, best, duel, judged, ranked, tallied
from sapwood.study.finals import epochs, goal_value, number_of, share
from sapwood.study.grid import NOTHING, Grid
from sapwood.study.milliseconds import columns
from sapwood.study.others import in_print
from sapwood.study.questions import Gaps
from sapwood.study.seeds import minus, summed_up, together
from sapwood.study.study import Finding
from sapwood.study.table import Table
from sapwood.study.words import difference, told

from .arms import DENSE, DISTILLED, EVERY, LARGE, ON, OURS, PEERS, PRUNE, SMALL, THIRDS, Net
from .printed import LOSS, PRINTED

POINTS = 0.3
VALID = number_of("accuracy", "valid", 100)
LOST = behind(f"{{}}, {DENSE}")
MISSING = "Not run at this scale."
NETS = (SMALL, LARGE)
AT = {f"{net.name}, {budget}": (net.name, budget) for net in NETS for budget in net.budgets}
MACS = share(number_of("macs"), number_of("reference_macs"))


def arms_at(net: str, budget: str, ways: Iterable[str]) -> list[str]:
    """The arms of these ways."""
    return [f"{net}, {way}, {budget}" for way in ways]


def duels(rows: Table, ways: tuple[str, ...] = tuple(OURS)) -> dict[str, Duel]:
    """Ours against theirs wherever both have been run."""
    found = {at: duel(rows, arms_at(*of, ways), arms_at(*of, PEERS)) for at, of in AT.items()}
    return {at: each for at, each in found.items() if each}


def best_ways(rows: Table) -> str:
    """The best three of ours and two of the peer's on ResNet-20, by the mean over the thirds, for `arms.BEST`."""
    every = ranked(rows, {way: [f"{SMALL.name}, {way}, {at}" for at in THIRDS] for way in EVERY})
    chosen = [way for side, count in ((OURS, 3), (PEERS, 2)) for way in [w for w in every if w in side][:count]]
    return f"The best ways on {SMALL.name} by validation images, which ResNet-56 gets: {'; '.join(chosen) or MISSING}"


def ours_at(rows: Table, net: str, budget: str) -> str | None:
    """Our best arm there."""
    return best(rows, arms_at(net, budget, tuple(OURS)))


def fastnas(rows: Table) -> str:
    """What ResNet-20 loses at 73 % of the multiply-adds, by labels alone and distilled."""
    arm = f"{SMALL.name}, {PRUNE}, 73 %"
    lost = {each: found for each in (arm, f"{arm}, {DISTILLED}") if (found := LOST(rows, each))}
    said = {each: "less" if fmean(found.values()) < LOSS else "not less" for each, found in lost.items()}
    every = [f"{each} loses {show(lost[each])} points, {said[each]} than the {LOSS} printed." for each in lost]
    return " ".join(every) or MISSING


def taught(rows: Table) -> str:
    """What learning from the dense network adds."""
    arms = [arm for of in AT.values() for arm in arms_at(*of, EVERY)]
    found = Gaps(goal_value, {arm: (f"{arm}, {DISTILLED}", arm) for arm in arms})(rows)
    gap = summed_up(together(found.values(), fmean))
    return f"{difference(gap)} points, mean of {len(found)} arms; {told(gap, 'more', 'less')}." if gap else MISSING


def summary_of(rows: Table) -> list[str | Finding]:
    """The questions and their answers."""
    mine, usual = duels(rows), duels(rows, (PRUNE,))
    each = "; ".join(f"{at}: {d.ours} over {d.theirs} {difference(d.gap)}, {judged(d.gap, POINTS)}"
                     for at, d in mine.items())  # fmt: skip
    return [
        Finding("Our best against Torch-Pruning's.", tallied([*mine.values()], POINTS) or MISSING, each),
        Finding("`prune` by default against Torch-Pruning's best.", tallied([*usual.values()], POINTS) or MISSING),
        Finding("ResNet-20 at 73 % of its multiply-adds loses less than FastNAS prints.", fastnas(rows)),
        Finding("What it adds to learn from the dense network as well.", taught(rows)),
        best_ways(rows),
    ]


def gap(rows: Table, arm: str) -> str:
    """The difference to Torch-Pruning's best at the same budget."""
    net, _, budget = arm.removesuffix(f", {DISTILLED}").partition(", ")
    theirs = best(rows, arms_at(net, budget.rpartition(", ")[2], PEERS))
    found = minus(goal_value(rows, arm), goal_value(rows, theirs)) if theirs not in (None, arm) else {}
    return difference(summed_up(found)) if found else NOTHING


COLUMNS = (seeds(), mean("multiply-adds left (%)", MACS, 1), mean("test accuracy (%)", goal_value),
           mean("validation accuracy (%)", VALID), mean("lost (points)", LOST),
           Column("to Torch-Pruning's best (points)", gap), mean("epochs", epochs, 0), *columns())  # fmt: skip


def reached(net: Net) -> Callable[[Table], Grid]:
    """A line for each arm."""
    arms = [arm for budget, (_, ways, _) in net.budgets.items() for arm in arms_at(net.name, budget, ways or EVERY)]
    taught = [f"{arm}, {DISTILLED}" for arm in arms if any(f", {way}, " in arm for way in net.taught)]
    return by_arm([f"{net.name}, {DENSE}", f"{net.name}, {ON}", *arms, *taught], *COLUMNS)


IN_PRINT = in_print(PRINTED, ours_at, LOST)
