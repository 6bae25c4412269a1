"""Transformable: does a search for widths and depths find anything that the same multiply-adds elsewhere do not give?

Dong & Yang 2019 (TAS) learn the size of a network, then train it from new weights, taught by the whole network. A user
has found that a shape of theirs loses 2.9 points without a teacher, so every shape here has the same one. Beside what
was found: uniform and random widths of as many multiply-adds; what was found without a teacher; a search without a
price. The last epoch counts. Expected: the shape within a tenth below and a twentieth above half of the multiply-adds,
at most half a point below uniform widths, above random ones, better with a teacher than without.

Smoke: digits, one seed, in seconds. Small: six convolutions on a fifth of CIFAR-10, 20 epochs of search and 20 of
training, in bfloat16, five seeds; about an hour and a half on two cores, estimated from timed steps. Paper: ResNet-56
on CIFAR-10, 600 and 300 epochs, for a GPU: sapwood run transformable --scale paper --device cuda; a trial that is
stopped goes on where it was.
Run: sapwood run transformable --scale small
Last run: never at small or paper.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sapwood.study.asked import MISSING, Asked
from sapwood.study.claim import Claim
from sapwood.study.finals import Number, goal_value, number_of, summed
from sapwood.study.grid import Grid, number
from sapwood.study.plots import accuracies
from sapwood.study.seeds import Seeds, summed_up
from sapwood.study.study import Figure, Finding, Study, Tabled
from sapwood.study.table import Table
from sapwood.study.words import difference, told
from sapwood.trials.trial import Trial, Value

Options = Mapping[str, Value]

METHOD = "transformable_architecture_search"
WHOLE, FOUND, UNIFORM, RANDOM, ALONE, FREE = (
    "whole", "found", "uniform widths", "random widths", "found, no teacher", "search without a price",
)  # fmt: skip
WANTED = 0.5  # of the multiply-adds


class Scale(NamedTuple):
    """A task, how long everything takes, and for how many seeds."""

    task: str
    seeds: int
    search: int  # epochs, of which a half trains weights, and a half preferences
    epochs: int  # of every training, the teacher's, too
    rate: float  # of the preferences; the paper's is 0.001, for ten times as many steps
    recipe: Options


SCALES: dict[str, Scale] = {
    "smoke": Scale("conv_digits", 1, 2, 2, 0.1, {"batch_size": 64}),
    "small": Scale("vgg6_cifar_narrow", 5, 20, 20, 0.01, {"course": "cosine", "precision": "bfloat16"}),
    "paper": Scale("resnet56_cifar", 3, 600, 300, 0.001, {"course": "cosine", "batch_size": 256, "learning_rate": 0.1,
                   "weight_decay": 5e-4}),
}  # fmt: skip


def trials(scale: str) -> Iterator[Trial]:
    """A seed's arms are neighbours, so that a study cut short has fewer seeds, not fewer arms."""
    of = SCALES[scale]
    for seed in range(of.seeds):
        whole = Trial.make("dense", of.task, seed, WHOLE, stop="epochs", epochs=of.epochs).under(**of.recipe)
        yield whole
        options: Options = {"wanted": WANTED, "rate": of.rate, "search_epochs": of.search, "teach_epochs": 0}
        found = _made(of, METHOD, seed, FOUND, **options, epochs=of.epochs).after(teacher=whole)
        yield found
        for arm, widths in ((UNIFORM, "uniform"), (RANDOM, "random"), (ALONE, "pruned")):
            again = _made(of, "rethink", seed, arm, protocol="scratch_e", widths=widths, epochs=of.epochs)
            again = again.after(like=found)
            yield again if arm == ALONE else again.after(teacher=whole)
        yield _made(of, METHOD, seed, FREE, **options, price=0.0, epochs=0).after(teacher=whole)


def _made(of: Scale, method: str, seed: int, arm: str, **options: Value) -> Trial:
    return Trial.make(method, of.task, seed, arm, **options).under(**of.recipe)


LEFT, SPREAD, SHARP = (number_of(name, "note", 100) for name in ("macs_left", "spread", "sharp"))


def of_wanted(rows: Table, arm: str) -> Seeds:
    """The multiply-adds of an arm over those that are wanted."""
    return {seed: left / (100 * WANTED) for seed, left in LEFT(rows, arm).items()}


LOW, HIGH, SURE, NEAR = 0.90, 1.05, 0.5, 0.5  # of what is wanted; the share of sharp choices; points
NEARLY, BEATS = (
    Asked("Test accuracy", "4a. The shape that was found is at most half a point below uniform widths of as many "
          "multiply-adds, with the same teacher ...", goal_value, (FOUND, UNIFORM), unit="points"),
    Asked("Test accuracy", "4b. ... and above random ones.", goal_value, (FOUND, RANDOM), unit="points"),
)  # fmt: skip
TAUGHT = Asked("Test accuracy", "5. It owes something to its teacher.", goal_value, (FOUND, ALONE), unit="points")
PRICED = Asked("Multiply-adds left", "6. It is the price that keeps it small.", LEFT, (FREE, FOUND), unit="points")
ASKED = (NEARLY, BEATS, TAUGHT, PRICED)
CLAIMS = (
    Claim("Dong 2019, released recipe", "ResNet-56, whole, test accuracy, %", 94.26, 0.5, summed(goal_value, WHOLE)),
    Claim("harness", "multiply-adds found / wanted", (LOW + HIGH) / 2, (HIGH - LOW) / 2, summed(of_wanted, FOUND)),
)


def within(rows: Table) -> str:
    """In how many seeds the shape costs what is wanted, to the tolerance, and by how much it does."""
    seeds = of_wanted(rows, FOUND)
    if not seeds:
        return MISSING
    inside = sum(LOW <= share <= HIGH for share in seeds.values())
    return (
        f"{inside} of {len(seeds)} seeds end within {LOW:.2f} and {HIGH:.2f} of what is wanted; from "
        f"{min(seeds.values()):.2f} to {max(seeds.values()):.2f}."
    )


def sure(rows: Table) -> str:
    """Whether most choices have become sharp: their entropy is below 80 % of the largest there can be."""
    seeds = SHARP(rows, FOUND)
    if not seeds:
        return MISSING
    most = sum(share > 100 * SURE for share in seeds.values())
    return (
        f"Most choices are below 80 % of the largest entropy in {most} of {len(seeds)} seeds; of all choices "
        f"{number(summed_up(seeds), 0)} %."
    )


def nearly(rows: Table) -> str:
    """Whether it is at most half a point below uniform widths, by the interval."""
    gap = NEARLY.gap(rows)
    if gap is None:
        return MISSING
    low, high = (gap.mean if end is None else end for end in (gap.low, gap.high))
    said = "holds" if low >= -NEAR else "does not hold" if high < -NEAR else "cannot be told from these seeds"
    return f"{NEARLY.answer(rows)} At most half a point below: {said}."


def summary(rows: Table) -> list[str | Finding]:
    """The sheet's questions about benefit, answered by the rows."""
    return [
        Finding("3a. The search ends within its tolerance in every seed.", within(rows)),
        Finding("3b. It knows what it wants.", sure(rows)),
        Finding(NEARLY.claim, nearly(rows)),
        *(Finding(asked.claim, asked.answer(rows)) for asked in ASKED[1:]),
    ]


def controls(rows: Table) -> str:
    """In one sentence what the controls showed."""
    gaps = {asked.pair[1]: asked.gap(rows) for asked in (NEARLY, BEATS, TAUGHT)}
    said = [f"{arm} {difference(gap)}, {told(gap)}" for arm, gap in gaps.items() if gap]
    return f"What was found minus each control, test accuracy in points: {'; '.join(said)}." if said else MISSING


def verdict(rows: Table) -> list[str]:
    """What the controls showed, then whether it kept to its budget, and why."""
    if summed_up(goal_value(rows, FOUND)) is None:
        return [MISSING]
    return [controls(rows), f"Budget: {within(rows)}", f"Without a price: {PRICED.answer(rows)}"]


SHOWN: dict[str, tuple[Number, int]] = {
    "test accuracy (%)": (goal_value, 2),
    "MACs left (%)": (LEFT, 1),
    "entropy of choices (% of the largest)": (SPREAD, 0),
    "sharp choices (%)": (SHARP, 0),
}


def measured(rows: Table) -> Grid:
    """Every arm: what it gets right, what it costs, how sure the search was."""
    lines = [
        (arm, *(number(summed_up(of(rows, arm)), decimals) for of, decimals in SHOWN.values()))
        for arm in (WHOLE, FOUND, UNIFORM, RANDOM, ALONE, FREE)
        if summed_up(goal_value(rows, arm))
    ]
    return Grid(("arm", *SHOWN), tuple(lines))


def compared(rows: Table) -> Grid:
    """Every comparison by itself."""
    lines = [
        (" minus ".join(asked.pair), asked.what, difference(found), told(found))
        for asked in ASKED
        if (found := asked.gap(rows))
    ]
    return Grid(("arms", "of what", "difference (points)", "so it is"), tuple(lines))


def drawn(rows: Table, folder: Path) -> Any:
    """Test accuracy of the shapes that are trained."""
    return accuracies([row for row in rows if row["row"] != FREE], folder)


def assumptions(rows: Table) -> Iterator[str]:
    """What a small study cannot say, and where it counts otherwise than the paper."""
    if any(row.get("task") != "resnet56_cifar" for row in rows):
        yield (
            "Few epochs on few images: preferences move ten times as fast as the paper's, for fewer steps. On little "
            "data widths may hardly matter; then found, uniform and random ones are alike."
        )
    yield (
        "Uniform and random widths cost at most what the found shape does, with all blocks in place; each seed draws "
        "its own. What a search without a price finds is not trained: its accuracy is that of new weights."
    )


STUDY = Study(
    name="transformable",
    title="Transformable architecture search: a shape that was searched for against uniform and random ones",
    paper="Dong, Yang, Network pruning via transformable architecture search, NeurIPS 2019, arXiv:1905.09717; printed "
    "numbers from the authors' repository, D-X-Y/AutoDL-Projects.",
    trials=trials,
    claims=CLAIMS,
    figures=(Figure("Shapes of as many multiply-adds", "Test accuracy, every seed, mean and 95 % interval.", drawn),),
    tables=(
        Tabled("Shapes", "Means over seeds [95 % interval]; test images, last weights.", measured),
        Tabled("Comparisons", "Differences seed by seed; word: what their 95 % interval says.", compared),
    ),
    summary=summary,
    verdict=verdict,
    codes={
        FREE: "the same search with price 0, its shape not trained",
        ALONE: "the shape of found, trained on labels alone",
    },
    assumes=assumptions,
)
