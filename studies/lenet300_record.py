"""How far can LeNet-300-100 be compressed? The best recipe found on validation images, five seeds.

Variational dropout ranks the weights by how much they drown in their noise; all but a 94th go. What is left learns from
labels and from a dense teacher's answers, and goes on to fewer weights by gradual magnitude, one compression after the
other, each from the last one's weights: pruned for half of its epochs, trained for all of them.
Expected: 94-fold at most 1.9 % test error; at most 2.0 % at 120-fold or more.

Smoke: few epochs, one seed. Small: a quarter of the epochs, two seeds. Paper: 80 epochs with noise, 30 for each
compression, five seeds. The dense network trains for 30 epochs, a teacher of 800 and 400 neurons for 12.
Run: sapwood run lenet300_record --scale paper
"""

from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from sapwood.study import seeds
from sapwood.study.grid import NOTHING, Grid, number, sizes
from sapwood.study.plots import GREY, dots
from sapwood.study.seeds import errors, summed_up
from sapwood.study.study import Figure as Drawing
from sapwood.study.study import Finding, Study, Tabled
from sapwood.study.table import Table, by_seed, labels, summary
from sapwood.study.trial import Trial

TASK, DENSE, TEACHER, NOISE = "lenet300_mnist", "dense", "teacher", "noise"
FOLDS = (94, 128, 160)
FAR = 120
TEACHING = {"temperature": 4.0, "soft": 0.9}
RATE = 1.5e-3


class Length(NamedTuple):
    """Epochs with noise, and while its price rises; of each compression and the dense network; of a teacher; seeds."""

    noise: int
    begin: float
    end: float
    each: int
    teacher: int
    seeds: int


LENGTHS = {
    "smoke": Length(4, 0.5, 2.0, 2, 2, 1),
    "small": Length(20, 2.0, 8.0, 8, 4, 2),
    "paper": Length(80, 5.0, 30.0, 30, 12, 5),
}


def label(fold: int) -> str:
    """A row's name."""
    return f"{fold}-fold"


def trials(scale: str) -> Iterator[Trial]:
    """Seed by seed: a dense network, its teacher, the noise, one compression after the other."""
    length = LENGTHS[scale]
    for seed in range(length.seeds):
        yield _dense(DENSE, seed, length.each)
        teacher = _dense(TEACHER, seed, length.teacher).under(hidden="800 400")
        yield teacher
        last = Trial.make(
            "variational_dropout", TASK, seed, NOISE, sparsity=1 - 1 / FOLDS[0], strength=1.5, begin=length.begin,
            end=length.end, epochs=length.noise,
        )  # fmt: skip
        yield last
        for fold, before in zip(FOLDS, (FOLDS[0], *FOLDS), strict=False):
            last = _smaller(seed, fold, before, length.each).after(start=last, teacher=teacher)
            yield last


def _dense(row: str, seed: int, epochs: int) -> Trial:
    return Trial.make("dense", TASK, seed, row, stop="epochs", epochs=epochs).under(course="cosine")


def _smaller(seed: int, fold: int, before: int, epochs: int) -> Trial:
    """From one compression to the next; to the first, which is reached already, with training alone."""
    trial = Trial.make(
        "gradual_magnitude", TASK, seed, label(fold), sparsity=1 - 1 / fold, initial=1 - 1 / before, begin=0.0,
        end=epochs / 2, epochs=epochs, scope="everywhere", output=True,
    )  # fmt: skip
    return trial.under(course="cosine", learning_rate=RATE, **TEACHING)


def largest(rows: Table, limit: float) -> tuple[int, float] | None:
    """The largest compression until which every mean error is at most `limit`, and the error there."""
    found = errors(rows)
    run = takewhile(lambda fold: label(fold) in found, FOLDS)
    return seeds.largest({fold: found[label(fold)] for fold in run}, limit)


def limits(rows: Table) -> Grid:
    """How far until the mean test error exceeds a limit."""
    dense = errors(rows).get(DENSE)
    mean = summary(dense.values()).mean if dense else float("nan")
    wanted = {"the dense network's mean": mean, "half a point above it": mean + 0.5, "2.0 %": 2.0}
    lines = []
    for words, limit in wanted.items():
        found = largest(rows, limit)
        lines.append((words, f"{limit:.2f}", NOTHING if found is None else f"{found[0]}-fold at {found[1]:.2f} %"))
    return Grid(("mean test error at most", "%", "largest compression measured"), tuple(lines))


def reached(rows: Table) -> Grid:
    """Errors and sizes."""
    found, zeros, weights = errors(rows), by_seed(rows, "zeros", "network"), by_seed(rows, "weights", "network")
    lines = []
    for row in labels(rows):
        left = {seed: weights[row][seed] - gone for seed, gone in zeros.get(row, {}).items()}
        seen = found.get(row, {})
        lines.append((row, str(len(seen)), number(summed_up(left), 0), number(summed_up(seen), 2)))
    return Grid(("row", "seeds (n)", "weights not 0", "test error (%)"), tuple(lines))


def record(rows: Table) -> list[str | Finding]:
    """What was wanted, and what came."""
    found = errors(rows)
    at = {fold: summary(found[label(fold)].values()) for fold in FOLDS if label(fold) in found}
    first = f"{FOLDS[0]}-fold: {number(at[FOLDS[0]], 2)} % (n = {at[FOLDS[0]].n})." if FOLDS[0] in at else "Not run."
    far = largest(rows, 2.0)
    said = "none of those measured." if far is None else f"{far[0]}-fold, {number(at[far[0]], 2)} %."
    return [
        Finding(f"{FOLDS[0]}-fold, printed without an accuracy: at most 1.9 % test error?", first),
        Finding(f"At most 2.0 %: {FAR}-fold or more?", f"The largest compression measured: {said}"),
    ]


def drawn(rows: Table, folder: Path) -> Figure:
    """Test error of every row."""
    figure = Figure(figsize=(7, 3.4), layout="constrained")
    axes = figure.subplots()
    names = [DENSE, *map(label, FOLDS)]
    dots(axes, names, {row: found.values() for row, found in errors(rows).items()})
    axes.axvline(2.0, lw=0.8, color=GREY)
    axes.set_xlabel("test error (%)")
    return figure


STUDY = Study(
    name="lenet300_record",
    title="How far can LeNet-300-100 be compressed?",
    paper="Molchanov et al. 2017 (variational dropout), Zhu & Gupta 2017 (gradual magnitude), Hinton et al. 2015 "
    "(distillation); the 94-fold of Ganguli & Chong 2024, Table 10",
    trials=trials,
    summary=record,
    tables=(
        Tabled("Errors", "Mean over seeds [95 % interval], last weights.", reached),
        Tabled(
            "How far", "Mean over seeds; of the compressions measured, all smaller ones within the limit too.", limits
        ),
        Tabled("Every sense of compression", "Before / after.", sizes),
    ),
    figures=(Drawing("Test error", "Circles: seeds. Diamond: mean. Bar: 95 % interval. Grey line: 2.0 %.", drawn),),
    notes="Chosen by validation errors of seeds 0 and 1, one run each: strength 1, 1.5 and 3, 60 or 80 epochs of it; "
    "ranking by noise or by magnitude beyond the first compression; no teacher, one as wide, or a wider one.",
)
