"""Pruning from scratch: are widths found by gates on random weights better than widths that nobody searched for?

Wang et al. 2020 freeze random weights, learn a gate for each unit, rank all units by their gates, and train the widths
that are left from new weights. Here these widths stand beside others of equal multiply-adds, all trained from new
weights for equal epochs: uniform ones, random ones, those of the same gates shuffled across layers, those of gates on
trained weights, and those that network slimming finds while it trains. Expected: at least as good as uniform widths,
better than random ones and than shuffled gates.

Smoke: digits, one seed, in seconds. Small: LeNet-5 on MNIST, and a narrow VGG on a fifth of CIFAR-10 at a half and at a
quarter of its multiply-adds, five seeds, in bfloat16; about 1.3 hours on two cores, estimated from the epochs and what
a step takes. Paper: VGG-16 and ResNet-56 on CIFAR-10, 160 epochs, for a GPU:
sapwood run from_scratch --scale paper --device cuda; stopped after minutes and run again, it goes on where it was.
Run: sapwood run from_scratch --scale small
Last run: never at small or paper.
"""

from collections.abc import Iterator, Mapping
from statistics import fmean
from typing import NamedTuple

from sapwood.study.claim import Claim
from sapwood.study.finals import Number, goal_value, number_of, summed
from sapwood.study.grid import Grid, number
from sapwood.study.printed import of_points
from sapwood.study.questions import Gaps
from sapwood.study.rethought import named, rethought
from sapwood.study.seeds import Seeds, summed_up, together
from sapwood.study.study import Finding, Study, Tabled
from sapwood.study.table import Summary, Table
from sapwood.study.words import difference, told
from sapwood.trials.trial import Trial, Value

Options = Mapping[str, Value]

METHOD, LEVEL, FLOOR = (
    "pruning_from_scratch",
    0.2,
    0.08,
)  # the authors' level; a floor under each layer's share of units
DENSE, FOUND, SHUFFLED, TRAINED, SLIMMING = "dense", "gates", "shuffled gates", "gates on trained weights", "slimming"
SCRATCH = "scratch_e"  # from new weights, for as many epochs
OTHERS: dict[str, str] = {  # what the found widths are compared with -> its arm, behind the network's name
    "uniform widths": named(FOUND, SCRATCH, "uniform"),
    "random widths": named(FOUND, SCRATCH, "random"),
    "shuffled gates": SHUFFLED,
    "gates on trained weights": TRAINED,
    "slimming's widths": named(SLIMMING, SCRATCH),
}


class Net(NamedTuple):
    """A network, how much of its multiply-adds may be left, and for how many epochs gates and what they find train."""

    name: str
    task: str
    macs: float
    gate_epochs: int
    epochs: int
    seeds: int
    slimmed: bool  # whether it has batch norms, whose scales network slimming ranks
    less: float  # how much the budget may be missed by, in percent of all: its fiftieth, or the dearest unit
    recipe: Options


DROPS: Options = {"course": "drops", "precision": "bfloat16"}
PAPER: Options = {"course": "drops", "batch_size": 128, "learning_rate": 0.1}
SCALES: dict[str, tuple[Net, ...]] = {
    "smoke": (Net("digits", "conv_digits", 0.5, 1, 2, 1, True, 4.3, DROPS),),
    "small": (
        Net("LeNet-5", "lenet5_mnist", 0.5, 1, 5, 5, False, 4.2, DROPS),
        Net("VGG at 1/2", "vgg6_cifar_narrow", 0.5, 3, 15, 5, True, 2.3, DROPS),
        Net("VGG at 1/4", "vgg6_cifar_narrow", 0.25, 3, 15, 5, True, 2.3, DROPS),
    ),
    "paper": (
        Net("VGG-16", "vgg16_cifar", 0.5, 10, 160, 5, True, 1.0, PAPER),
        Net("ResNet-56", "resnet56_cifar", 0.5, 10, 160, 5, False, 1.0, PAPER),
    ),
}
NETS = [net for nets in SCALES.values() for net in nets]


def trials(scale: str) -> Iterator[Trial]:
    """A seed's arms are neighbours, so that a study cut short has fewer seeds, not fewer arms."""
    for seed in range(max(net.seeds for net in SCALES[scale])):
        dense: dict[str, Trial] = {}
        for net in SCALES[scale]:
            if net.task not in dense:
                name = f"{net.name.partition(' at ')[0]}, {DENSE}"
                made = Trial.make("dense", net.task, seed, name, stop="epochs", epochs=net.epochs)
                dense[net.task] = made.under(**net.recipe)
                yield dense[net.task]
            yield from _arms(net, seed, dense[net.task])


def _arms(net: Net, seed: int, dense: Trial) -> Iterator[Trial]:
    found = _gates(net, seed, FOUND)
    yield from (found, _gates(net, seed, SHUFFLED, shuffled="across"), _gates(net, seed, TRAINED).after(start=dense))
    yield from (rethought(found, SCRATCH, widths, None, epochs=net.epochs) for widths in ("uniform", "random"))
    if net.slimmed:
        arm = f"{net.name}, {SLIMMING}"
        made = Trial.make("network_slimming", net.task, seed, arm, macs=net.macs, epochs=net.epochs, tune=0)
        slimmed = made.under(**net.recipe)
        yield from (slimmed, rethought(slimmed, SCRATCH, epochs=net.epochs))


def _gates(net: Net, seed: int, arm: str, **more: Value) -> Trial:
    options: Options = {"macs": net.macs, "level": LEVEL, "gate_epochs": net.gate_epochs, "epochs": net.epochs,
                        "floor": FLOOR, "ties": "shadow", **more}  # fmt: skip
    return Trial.make(METHOD, net.task, seed, f"{net.name}, {arm}", **options).under(**net.recipe)


LEFT, MEAN, SPREAD = (
    number_of("macs_left", "note", 100),
    number_of("gates_mean", "note"),
    number_of("gates_spread", "note"),
)
OPEN, CLOSED = number_of("open", "note", 100), number_of("closed", "note")
POINTS, NEAR, APART = 0.5, 0.03, 0.05  # rules that stand before any row
FIFTH = 20.0  # percent: what learning gates may cost
MISSING = "Not run at this scale."


def price(rows: Table, arm: str) -> Seeds:
    """What learning gates costs, in percent of the multiply-adds of training what they find."""
    length = {f"{net.name}, {FOUND}": 100 * net.gate_epochs / net.epochs for net in NETS}
    return {seed: length[arm] / (left / 100) for seed, left in LEFT(rows, arm).items()}


def _claims(net: Net) -> Iterator[Claim]:
    """What the mechanism must show, whatever it is worth."""
    where, arm = f"harness, {net.name}", f"{net.name}, {FOUND}"
    middle = 100 * net.macs - net.less / 2
    yield Claim(where, "multiply-adds left, % of all", middle, net.less / 2, summed(LEFT, arm))
    yield Claim(where, f"mean of all gates, to be {LEVEL:g}", LEVEL, NEAR, summed(MEAN, arm))
    yield Claim(where, "standard deviation of the layers' mean gates", 1e7 + APART, 1e7, summed(SPREAD, arm))


CLAIMS = (
    # VGG-19 at half, in two versions of one README: 92.64 and 93.24; no other number has a source.
    Claim("Wang 2020 by others (zheng-ningxin/Pruning-from-scratch), VGG-19 at 1/2; here VGG-16", "test accuracy, %",
          92.94, 0.3, summed(goal_value, f"VGG-16, {FOUND}")),
    *(claim for net in NETS for claim in _claims(net)),
)  # fmt: skip


def gaps(other: str) -> Gaps:
    """Test accuracy of the found widths minus that of others, for every network."""
    return Gaps(goal_value, {net.name: (f"{net.name}, {FOUND}", f"{net.name}, {OTHERS[other]}") for net in NETS})


def pooled(rows: Table, other: str) -> tuple[Summary | None, int]:
    """The mean over networks, seed by seed, and how many these are."""
    found = gaps(other)(rows)
    return (summed_up(together(found.values(), fmean)) if found else None), len(found)


ASKED: dict[str, tuple[str, float]] = {  # {what it is compared with: (the claim, how many points less it may be)}
    "uniform widths": ("4. The widths that gates find lose at most 0.5 points to uniform ones ...", POINTS),
    "random widths": ("... and are better than random ones.", 0.0),
    "shuffled gates": ("6. It is the gates that find them: shuffled across layers they find worse ones.", 0.0),
    "gates on trained weights": ("Random weights suffice: gates on trained ones find nothing better by 0.5 points ...",
                                 POINTS),
    "slimming's widths": ("... nor does network slimming, which trains the whole network for it.", POINTS),
}  # fmt: skip


def judged(found: Summary, margin: float) -> str:
    """Whether an interval is within the margin; without one, the direction of the difference."""
    if not margin or found.low is None or found.high is None:
        return told(found, "better", "worse")
    said = "holds" if found.low >= -margin else "does not hold" if found.high < -margin else "cannot be told"
    return f"at most {margin:g} points less: {said}"


def answer(rows: Table, other: str) -> str:
    """A sentence."""
    found, count = pooled(rows, other)
    if found is None:
        return MISSING
    of = "one network" if count == 1 else f"{count} networks"
    said = judged(found, ASKED[other][1])
    return f"Test accuracy minus that of {other}, mean of {of}: {difference(found)} points; {said}."


def summary(rows: Table) -> list[str | Finding]:
    """The mechanism in numbers, then what it is worth."""
    return [
        Finding(f"1. Learning gates costs at most {FIFTH:g} % of training what they find.", _each(rows, price, 0, "%")),
        Finding(
            f"2. Gates end within {NEAR:g} of their level on average ...", _each(rows, MEAN, 3, f"; level {LEVEL:g}")
        ),
        Finding("... and layers differ in it, so that something was learned.", _each(rows, SPREAD, 3, "")),
        Finding("3. The budget is met, with 2 % of it or one unit to spare at most.", _each(rows, LEFT, 2, "% left")),
        *(Finding(claim, answer(rows, other)) for other, (claim, _) in ASKED.items()),
    ]


def _each(rows: Table, of: Number, decimals: int, unit: str) -> str:
    """A number of every network's found widths."""
    found = {net.name: summed_up(of(rows, f"{net.name}, {FOUND}")) for net in NETS}
    said = [f"{name} {number(each, decimals)}" for name, each in found.items() if each]
    return f"{'; '.join(said)} {unit}".rstrip().replace(" ;", ";") + "." if said else MISSING


def verdict(rows: Table) -> list[str]:
    """What the controls showed, in one sentence, and the paper's claim beside it."""
    said = {other: found for other in OTHERS if (found := pooled(rows, other)[0])}
    if not said:
        return [MISSING]
    words = "; ".join(
        f"{other} {difference(found)} ({told(found, 'better', 'worse')})" for other, found in said.items()
    )
    return [f"At equal multiply-adds, points of test accuracy of the found widths minus those of: {words}."]


def measured(rows: Table) -> Grid:
    """Every arm: what it gets right, and what it costs."""
    arms = [f"{net.name}, {arm}" for net in NETS for arm in (DENSE, FOUND, *OTHERS.values())]
    arms = [*dict.fromkeys([*(f"{net.name.partition(' at ')[0]}, {DENSE}" for net in NETS), *arms])]
    parameters = number_of("parameters")
    lines = [
        (arm, number(right, 2), number(summed_up(LEFT(rows, arm)), 2), number(summed_up(parameters(rows, arm)), 0))
        for arm in arms
        if (right := summed_up(goal_value(rows, arm)))
    ]
    return Grid(("arm", "test accuracy (%)", "MACs left (%)", "parameters (n)"), tuple(lines))


def compared(rows: Table) -> Grid:
    """Every comparison by itself."""
    lines = [
        (net, other, difference(each), judged(each, margin))
        for other, (_, margin) in ASKED.items()
        for net, gap in gaps(other)(rows).items()
        if (each := summed_up(gap))
    ]
    return Grid(("network", "found widths minus", "difference (points)", "so it is"), tuple(lines))


def learned(rows: Table) -> Grid:
    """What gates have learned on random weights, and on trained ones."""
    shown: tuple[tuple[str, Number, int], ...] = (
        ("mean", MEAN, 3), ("deviation of layers' means", SPREAD, 3), ("open (%)", OPEN, 1),
        ("kept though closed (n)", CLOSED, 1),
    )  # fmt: skip
    arms = [f"{net.name}, {arm}" for net in NETS for arm in (FOUND, TRAINED)]
    lines = [
        (arm, *(number(summed_up(of(rows, arm)), decimals) for _, of, decimals in shown))
        for arm in arms
        if summed_up(MEAN(rows, arm))
    ]
    return Grid(("arm", *(title for title, _, _ in shown)), tuple(lines))


def assumptions(rows: Table) -> Iterator[str]:
    """What a small study cannot say, and where it does otherwise than the paper."""
    if any(row.get("task") in ("lenet5_mnist", "vgg6_cifar_narrow") for row in rows):
        yield (
            "Few epochs on few images. Gates learn for a fifth of the epochs of what they find, a sixteenth in the "
            "paper. Networks begin at their own widths, in the paper a quarter wider."
        )
    yield (
        "Half of the multiply-adds need far more units than have an open gate at the level, so that most of the choice "
        "is among gates of 0. They go by the gate without its clamp; the paper leaves them as they are sorted."
    )
    yield "Random widths are drawn once for each seed. A layer's floor of 8 % holds for gates, not for drawn widths."


STUDY = Study(
    name="from_scratch",
    title="Pruning from scratch: widths found by gates on random weights, beside others of equal cost",
    paper="Wang, Zhang, Xie, Zhou, Su, Zhang, Hu, Pruning from scratch, AAAI 2020, arXiv:1909.12579",
    trials=trials,
    claims=CLAIMS,
    tables=(
        Tabled("Arms", "Means over seeds [95 % interval]; all but dense trained from new weights.", measured),
        Tabled("Comparisons", "Differences seed by seed; word: what their 95 % interval says.", compared),
        Tabled("Gates", "Of the last epoch; kept though closed: units that stay with a gate of 0.", learned),
        Tabled("In print", "And what the mechanism must show. A dash: not run at this scale.", of_points(CLAIMS)),
    ),
    summary=summary,
    verdict=verdict,
    codes={"Scratch-E": "random weights, as many epochs", SHUFFLED: "the same gates, dealt anew to all units"},
    assumes=assumptions,
)
