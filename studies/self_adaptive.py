"""Self-adaptive: is it worth anything that every image decides for itself which channels are computed?

Chen et al. 2019 (SANP) decide per image, at a mean cost that meets a budget. No number of theirs is in print where we
could read it, and no code: `self_adaptive` is a reconstruction. What decides is in each trained network itself: the
same images under the masks of others, and under one mask, the most frequent, at the same mean cost; and a network of
uniform widths and equal multiply-adds that trains as long. Expected: mean cost within 2 points of half; accuracy falls
by more than 2 points under other images' masks, and falls under the most frequent one; at most half a point below the
static network. If the most frequent mask does as well, deciding for each image has no value here, and is slower.

Smoke: digits, one seed, in seconds. Small: LeNet-5 on MNIST and ResNet-8 on little of CIFAR-10, five seeds, six
convolutions on a fifth of CIFAR-10, three; HOURS. Paper: VGG-16 and ResNet-56 on CIFAR-10 at cuts that FTWT prints, on
a GPU: sapwood run self_adaptive --scale paper --device cuda; a trial that is stopped goes on where it was.
Run: sapwood run self_adaptive --scale small
Last run: never at small or paper.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from sapwood.study import words
from sapwood.study.finals import Number, goal_value, number_of
from sapwood.study.grid import Grid, number
from sapwood.study.questions import Gaps
from sapwood.study.seeds import Seeds, minus, summed_up
from sapwood.study.study import Finding, Study, Tabled
from sapwood.study.table import Summary, Table
from sapwood.study.words import difference, told
from sapwood.trials.trial import Trial, Value

DENSE, OWN, STATIC = "dense", "self-adaptive", "uniform widths"
NAMES = {
    "conv_digits": "digits",
    "lenet5_mnist": "LeNet-5",
    "resnet8_cifar_smoke": "ResNet-8",
    "vgg6_cifar_narrow": "VGG-6",
    "vgg16_cifar": "VGG-16",
    "resnet56_cifar": "ResNet-56",
}


class Part(NamedTuple):
    """A task, its seeds and epochs, the mean share of multiply-adds, and what it changes of the task's training."""

    task: str
    seeds: int
    epochs: int
    budget: float = 0.5
    recipe: Mapping[str, Value] = {"course": "drops"}
    options: Mapping[str, Value] = {}


SCALES: dict[str, tuple[Part, ...]] = {
    "smoke": (Part("conv_digits", 1, 4, 0.6, {}, {"rate": 0.02}),),
    "small": (Part("lenet5_mnist", 5, 6), Part("resnet8_cifar_smoke", 5, 40), Part("vgg6_cifar_narrow", 3, 25)),
    "paper": (Part("vgg16_cifar", 3, 160, 0.44), Part("resnet56_cifar", 3, 160, 0.46)),
}


def arm(task: str, which: str) -> str:
    """What an arm of a task is called."""
    return f"{NAMES[task]}, {which}"


def trials(scale: str) -> Iterator[Trial]:
    """A seed's arms are neighbours, so that a study cut short has fewer seeds, not fewer arms."""
    for part in SCALES[scale]:
        for seed in range(part.seeds):
            yield from _of_a_seed(part, seed)


def _of_a_seed(part: Part, seed: int) -> Iterator[Trial]:
    """The whole network is given to the adaptive one for its losses only: it begins with weights of its own."""
    task, epochs = part.task, part.epochs
    whole = Trial.make("dense", task, seed, arm(task, DENSE), epochs=epochs, stop="epochs").under(**part.recipe)
    own: dict[str, Value] = {"budget": part.budget, "epochs": epochs, **part.options}
    uniform: dict[str, Value] = {"protocol": "scratch_e", "widths": "uniform", "macs": part.budget, "epochs": epochs}
    yield whole
    yield Trial.make("self_adaptive", task, seed, arm(task, OWN), **own).under(**part.recipe).after(like=whole)
    yield Trial.make("rethink", task, seed, arm(task, STATIC), **uniform).under(**part.recipe)


ACCURACY, SWAPPED, FREQUENT = (number_of(f"{name}_accuracy", "note", 100) for name in ("own", "swapped", "frequent"))
MEAN, LEAST, MOST = (number_of(f"macs_{name}", "note", 100) for name in ("mean", "least", "most"))
AT_FREQUENT, LEFT = (number_of(name, "note", 100) for name in ("macs_frequent", "macs_left"))
APART, WITHIN, BETWEEN = (number_of(f"distance{of}", "note", 100) for of in ("", "_within", "_between"))
RATES, HARDER, ERROR = (number_of(name, "note") for name in ("rates_spread", "loss_and_macs", "loss_and_macs_error"))
SHOWN: dict[str, tuple[Number, int]] = {
    "MACs, mean (%)": (MEAN, 2),
    "least (%)": (LEAST, 1),
    "most (%)": (MOST, 1),
    "masks differ (% of units)": (APART, 2),
    "within a class": (WITHIN, 2),
    "between classes": (BETWEEN, 2),
    "spread of layers' rates": (RATES, 3),
    "loss and MACs, rank correlation": (HARDER, 3),
}
PRINTED = (  # selkerdawy/FTWT, README: CIFAR-10, accuracy (%), mean FLOPs cut (%)
    ("VGG-16", "whole", 93.82, 0),
    ("VGG-16", "decoupled 0.92", 93.73, 56),
    ("VGG-16", "joint 0.92", 93.55, 65),
    ("VGG-16", "decoupled 0.85", 93.19, 73),
    ("VGG-16", "joint 0.88", 92.65, 74),
    ("ResNet-56", "whole", 93.66, 0),
    ("ResNet-56", "decoupled 0.80", 92.63, 66),
    ("ResNet-56", "joint 0.88", 92.28, 54),
    ("MobileNetV1", "whole", 90.89, 0),
    ("MobileNetV1", "decoupled 1.00", 91.06, 78),
    ("MobileNetV1", "joint 1.00", 91.21, 78),
)
MISSING = "Not run at this scale."
WORTH = {  # by how accuracy under the most frequent mask is
    "lower": "deciding for each image is worth that much",
    "higher": "deciding for each image does harm",
    words.APART: "deciding for each image has no value that these seeds show",
    "cannot be told from one seed": "what deciding for each image is worth cannot be told from one seed",
    "cannot be told": "what deciding for each image is worth is not known",
}
NEAR, FALL, BEHIND, SPREAD, DIFFER = 2.0, 2.0, 0.5, 0.05, 2.0  # points, points, points, of rates, % of units


def under(name: str) -> Number:
    """Accuracy with masks that are not an image's own, minus that with its own."""
    number = {"swapped": SWAPPED, "frequent": FREQUENT}[name]
    return lambda rows, arm: minus(number(rows, arm), ACCURACY(rows, arm))


def beside_static(rows: Table, task: str) -> Seeds:
    """Accuracy minus that of uniform widths, seed by seed, in points."""
    return Gaps(goal_value, {"": (arm(task, OWN), arm(task, STATIC))})(rows).get("", {})


def there(rows: Table) -> list[str]:
    """The tasks that have been run."""
    return [task for task in NAMES if ACCURACY(rows, arm(task, OWN))]


def judged(holds: bool, fails: bool) -> str:
    """In words."""
    return "holds" if holds else "does not hold" if fails else "cannot be told from these seeds"


def below(found: Summary | None, bound: float) -> str:
    """Whether a number is below a bound, by its interval."""
    if found is None or found.low is None or found.high is None:
        return "cannot be told from one seed"
    return judged(found.high < bound, found.low >= bound)


def every_seed(values: Seeds, true: Mapping[int, bool]) -> str:
    """Whether something is true of each seed."""
    return f"{sum(true[seed] for seed in values)} of {len(values)} seeds: {judged(all(true.values()), True)}"


def met(rows: Table, task: str) -> str:
    """Whether the mean cost is near what was asked for."""
    mean, asked = MEAN(rows, arm(task, OWN)), 100 * next(p.budget for s in SCALES.values() for p in s if p.task == task)
    near = {seed: abs(value - asked) <= NEAR for seed, value in mean.items()}
    return f"{number(summed_up(mean), 2)} % of {asked:g} %, {every_seed(mean, near)}"


def uneven(rows: Table, task: str) -> str:
    """Whether layers keep different shares."""
    rates = RATES(rows, arm(task, OWN))
    return f"{number(summed_up(rates))}, {every_seed(rates, {seed: r > SPREAD for seed, r in rates.items()})}"


def adaptive(rows: Table, task: str) -> str:
    """Whether masks differ from image to image, and more so between classes."""
    own = arm(task, OWN)
    apart, within, between = (of(rows, own) for of in (APART, WITHIN, BETWEEN))
    true = {seed: apart[seed] > DIFFER and within[seed] < between[seed] for seed in apart}
    return f"{number(summed_up(apart), 2)} % of the units, {every_seed(apart, true)}"


def swapped(rows: Table, task: str) -> str:
    """Whether masks of other images cost more than 2 points."""
    found = summed_up(under("swapped")(rows, arm(task, OWN)))
    return f"{difference(found)}: {below(found, -FALL)}"


def frequent(rows: Table, task: str) -> str:
    """Whether the most frequent mask is worse."""
    found = summed_up(under("frequent")(rows, arm(task, OWN)))
    return f"{difference(found)}: {below(found, 0)}"


def harder(rows: Table, task: str) -> str:
    """Whether images that the whole network finds hard cost more, in each seed beyond two standard errors."""
    rho, error = (of(rows, arm(task, OWN)) for of in (HARDER, ERROR))
    return f"{number(summed_up(rho))}, {every_seed(rho, {seed: r > 2 * error[seed] for seed, r in rho.items()})}"


def as_good(rows: Table, task: str) -> str:
    """Whether it is at most half a point below uniform widths."""
    found = summed_up(beside_static(rows, task))
    if found is None or found.low is None or found.high is None:
        return f"{difference(found)}: cannot be told from one seed"
    return f"{difference(found)}: {judged(found.low >= -BEHIND, found.high < -BEHIND)}"


ASKED = {
    "1. The mean cost on test images is within 2 points of the budget.": met,
    "2. Layers keep different shares (spread above 0.05).": uneven,
    "3. Masks differ by more than 2 % of the units, less within a class than between classes.": adaptive,
    "4. Under the masks of other images accuracy falls by more than 2 points.": swapped,
    "5. Under the most frequent mask, at the same mean cost, accuracy falls.": frequent,
    "6. Images that the whole network finds hard cost more, in every seed beyond two standard errors.": harder,
    "7. It is at most half a point below uniform widths of equal multiply-adds.": as_good,
}


def summary(rows: Table) -> list[str | Finding]:
    """The questions, answered task by task."""
    tasks = there(rows)
    return [
        Finding(claim, "; ".join(f"{NAMES[task]} {answer(rows, task)}" for task in tasks) + "." if tasks else MISSING)
        for claim, answer in ASKED.items()
    ]


def verdict(rows: Table) -> list[str]:
    """What the controls showed, in a sentence for each task."""
    return [showed(rows, task) for task in there(rows)] or [MISSING]


def showed(rows: Table, task: str) -> str:
    """Whether an image's own masks are better than the most frequent one, and than those of other images."""
    own = arm(task, OWN)
    swap, often = (summed_up(under(name)(rows, own)) for name in ("swapped", "frequent"))
    beside = difference(summed_up(beside_static(rows, task)))
    return (
        f"{NAMES[task]}: with the most frequent mask in place of its own {difference(often)} points, "
        f"so {WORTH[told(often)]}; with masks of other images {difference(swap)}; beside uniform widths {beside}."
    )


def accuracies(rows: Table) -> Grid:
    """Test accuracy of each task's arms, and with masks that are not an image's own."""
    columns = ("task", DENSE, OWN, "masks of others", "most frequent mask", STATIC)
    lines = []
    for task in there(rows):
        own = arm(task, OWN)
        every = (goal_value(rows, arm(task, DENSE)), ACCURACY(rows, own), SWAPPED(rows, own), FREQUENT(rows, own),
                 goal_value(rows, arm(task, STATIC)))  # fmt: skip
        lines.append((NAMES[task], *(number(summed_up(each), 2) for each in every)))
    return Grid(columns, tuple(lines))


def measured(rows: Table) -> Grid:
    """What masks cost and how they differ."""
    lines = [
        (NAMES[task], *(number(summed_up(of(rows, arm(task, OWN))), decimals) for of, decimals in SHOWN.values()),
         number(summed_up(AT_FREQUENT(rows, arm(task, OWN))), 2), number(summed_up(LEFT(rows, arm(task, STATIC))), 2))
        for task in there(rows)
    ]  # fmt: skip
    return Grid(("task", *SHOWN, "MACs, most frequent mask (%)", f"MACs, {STATIC} (%)"), tuple(lines))


def in_print(rows: Table) -> Grid:
    """What FTWT prints, whatever has been run."""
    lines = tuple((network, arm, f"{right:.2f}", str(cut)) for network, arm, right, cut in PRINTED)
    return Grid(("network", "FTWT", "accuracy (%)", "FLOPs cut, mean over images (%)"), lines)


def assumptions(rows: Table) -> Iterator[str]:
    """What a small study cannot say, and whose method it is."""
    yield (
        "The method is a reconstruction from an abstract and a reader's notes. What is found here is about it, not "
        "about the authors' network, whose numbers could not be had."
    )
    yield "Multiply-adds include the modules'. They are not time: a batch of 1 has to slice its weights for each image."


STUDY = Study(
    name="self_adaptive",
    title="Self-adaptive pruning: every image's own channels against the most frequent ones and a static network",
    paper="Chen, Zhu, Li, Zhao, Self-adaptive network pruning, ICONIP 2019, arXiv:1910.08906, reconstructed; in print "
    "beside it: Elkerdawy et al., Fire together wire together (FTWT), CVPR 2022, from selkerdawy/FTWT.",
    trials=trials,
    tables=(
        Tabled("Accuracy", "Test images, %, means over seeds [95 % interval].", accuracies),
        Tabled("Costs and masks", "Of test images; MACs in % of the whole network's, modules included.", measured),
        Tabled("In print", "FTWT on CIFAR-10, the nearest method with printed numbers; SANP prints none.", in_print),
    ),
    summary=summary,
    verdict=verdict,
    codes={OWN: "self_adaptive, the budget is the mean cost", STATIC: "trained from new weights for as many epochs"},
    assumes=assumptions,
)  # fmt: skip
