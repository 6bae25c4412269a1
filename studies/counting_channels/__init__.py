"""Counting channels: does it help to count on how many samples a channel fires, at equal multiply-adds?

The first paper's score of neurons, carried over to the channels of convolutions, against sums and norms of weights, the
Taylor criterion, the share of zeros (APoZ) and luck. A dense network trains; each criterion takes channels out of it
until a half, a quarter or a tenth of the multiply-adds is left; what stays trains on for an epoch. Twice: with the same
share of every layer, where a criterion only says which channels, and in one ranking, where it says where as well.
Expected: better than luck where little is left; with the same share of every layer, counts and APoZ are the same.

Smoke: digits, one seed, in seconds. Small: LeNet-5 on MNIST and a narrow VGG on a fifth of CIFAR-10, five seeds;
in bfloat16; about two hours of computing, estimated.
Run: sapwood run counting_channels --scale small
Last run: 2026-11-28 to 2026-11-29, at commit ac734f7f864a, on cpu (x86_64, AVX512), threads: 1; 370 trials, 2.9 hours
of computing.
"""

from collections.abc import Iterator, Mapping
from statistics import fmean
from typing import NamedTuple

from sapwood.study.columns import show
from sapwood.study.finals import at_end, goal_value
from sapwood.study.grid import NOTHING, Grid
from sapwood.study.questions import Gaps
from sapwood.study.seeds import Seeds, minus, summed_up, together
from sapwood.study.study import Finding, Study, Tabled
from sapwood.study.table import Table
from sapwood.study.words import count, difference, told
from sapwood.trials.trial import Trial

COUNTS, LUCK = "activation counts", "luck"
CRITERIA = {COUNTS: "activity", "L1": "l1", "L2": "l2", "Taylor": "taylor_unit", "APoZ": "apoz", LUCK: "random_neuron"}
PLACES = {"each layer": "uniform", "one ranking": "everywhere"}  # allocation
SHARES = {"50 %": 0.5, "25 %": 0.25, "10 %": 0.1}
MISSING = "Not run at this scale."


class Net(NamedTuple):
    """A network, for how long it trains, and how many seeds."""

    name: str
    task: str
    epochs: int
    seeds: int
    shares: Mapping[str, float] = SHARES


DIGITS = Net("digits", "conv_digits", 1, 1, {"50 %": 0.5})
LENET, VGG = Net("LeNet-5", "lenet5_mnist", 3, 5), Net("VGG", "vgg6_cifar_narrow", 6, 5)
SCALES = {"smoke": (DIGITS,), "small": (LENET, VGG), "paper": (LENET._replace(seeds=10), VGG._replace(seeds=10))}
NETS = (LENET, VGG)


def arm(net: Net, place: str, share: str, criterion: str) -> str:
    """What an arm is called."""
    return f"{net.name}, {place}, {share}, {criterion}"


def trials(scale: str) -> Iterator[Trial]:
    """A dense network for each seed, and what is made of it."""
    for seed in range(max(net.seeds for net in SCALES[scale])):
        for net in SCALES[scale]:
            made = Trial.make("dense", net.task, seed, f"{net.name}, dense", stop="epochs", epochs=net.epochs)
            dense = made.under(course="drops", precision="bfloat16")
            yield dense
            for place, allocation in PLACES.items():
                for share, macs in net.shares.items():
                    for name, by in CRITERIA.items():
                        pruned = Trial.make("l1_filters", net.task, seed, arm(net, place, share, name), by=by,
                                            allocation=allocation, macs=macs, epochs=0, tune=1, rate=0.1)  # fmt: skip
                        yield pruned.under(precision="bfloat16").after(start=dense)


def at_once(rows: Table, of: str) -> Seeds:
    """Accuracy on validation images right after the cut, in percent."""
    return {seed: 100 * value for seed, value in at_end(rows, of, "cut_valid_accuracy", "note").items()}


def pairs(other: str, place: str = "", share: str = "") -> dict[str, tuple[str, str]]:
    """Counts and another criterion, wherever both cost as much: at a place and a share, or at all."""
    cases = [(net, p, s) for net in NETS for p in PLACES if place in ("", p) for s in SHARES if share in ("", s)]
    return {f"{net.name}, {p}, {s}": (arm(net, p, s, COUNTS), arm(net, p, s, other)) for net, p, s in cases}


OTHERS = [name for name in CRITERIA if name != COUNTS]


def answer(rows: Table, other: str, place: str) -> str:
    """How many comparisons counting wins, and the mean over them seed by seed."""
    found = Gaps(goal_value, pairs(other, place))(rows)
    gap = summed_up(together(found.values(), fmean)) if found else None
    said = count(" networks and budgets", found, "better", "worse")
    return f"{place}: {said} Mean {difference(gap)} points, {told(gap, 'better', 'worse')}." if gap else ""


def summary(rows: Table) -> list[str | Finding]:
    """One finding for each criterion."""
    return [
        Finding(
            f"Counting against {other}.", " ".join(answer(rows, other, place) for place in PLACES).strip() or MISSING
        )
        for other in OTHERS
    ]


def verdict(rows: Table) -> list[str]:
    """The same, a line for each."""
    said = [
        f"{each.claim} {each.answer}" for each in summary(rows) if isinstance(each, Finding) and each.answer != MISSING
    ]
    return said or [MISSING]


def compared(rows: Table) -> Grid:
    """A line for each network, place and budget: the accuracy by counts, and how far the others are behind it."""
    lines = []
    for net in NETS:
        for place in PLACES:
            for share in net.shares:
                mine = arm(net, place, share, COUNTS)
                if not goal_value(rows, mine):
                    continue
                gaps = (
                    summed_up(minus(goal_value(rows, mine), goal_value(rows, arm(net, place, share, o))))
                    for o in OTHERS
                )
                cells = (difference(gap) if gap else NOTHING for gap in gaps)
                luck = summed_up(minus(at_once(rows, mine), at_once(rows, arm(net, place, share, LUCK))))
                lines.append((f"{net.name}, {place}, {share}", show(goal_value(rows, mine)), *cells, difference(luck)))
    heads = ("network, same share of, multiply-adds", "counts (%)", *(f"minus {other} (points)" for other in OTHERS),
             "minus luck, not tuned, validation (points)")  # fmt: skip
    return Grid(heads, tuple(lines))


STUDY = Study(
    name="counting_channels",
    title="Counting on how many samples a channel fires, at equal multiply-adds",
    paper="Ganguli & Chong, Activation-based pruning of neural networks, Algorithms 17(1):48, 2024, carried over to "
    "channels; Molchanov et al., ICLR 2017; Hu et al., arXiv:1607.03250; Li et al., ICLR 2017",
    trials=trials,
    tables=(
        Tabled("Test accuracy, and the difference seed by seed", "One epoch of training on after the cut.", compared),
    ),
    summary=summary,
    verdict=verdict,
)
