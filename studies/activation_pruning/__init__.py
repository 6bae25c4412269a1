"""Activation-based pruning: the rows S, G1-G8, L1-L4 and M of Ganguli & Chong, Algorithms 17(1):48, 2024.

Network 784-300-200-100-50-10 on Fashion-MNIST, SGD 0.01, batches of 32; S trains densely, G prunes globally in 5 or 10
cycles, L locally in 4, M prunes S by magnitude. Expected: see PRINTED, with the table each number stands in.
Not yet here: retraining, PCA, singular values, controls (Tables 6-13, Figures 2-7).

Tolerances, fixed before any row was run: a share of zeros must agree to the printed digit (0.005 points) and FLOPs to
0.5 kFLOPs, because the completed cycles determine both; a test accuracy within 1 point, the noise of one run around
its mean, and of S within 4 points, the spread that the stopping rule gives a dense network whose last weights count.
The paper's columns "Top 1 %" and "Top 5 %" are not top-k accuracies: they are the share of samples predicted as class
0, and the share with class 0 among the five best. Both stand here under those names, beside the true ones.

Smoke: 6,000 images, 12 epochs, marks from 0.70 to 0.90; under a minute. Small: all images, 15 epochs, two seeds; about
20 minutes on two cores. Paper: five seeds, as long as the stopping rule lets them run; about two hours.
Run: sapwood run activation_pruning --scale paper        one row: --only row=G1 --only seed=0
"""

from collections.abc import Callable, Iterator

from sapwood.study.claim import Claim
from sapwood.study.grid import NOTHING, Column, Grid, grid, number
from sapwood.study.plots import accuracies, curves, weight_maps
from sapwood.study.study import Figure, Study, Tabled
from sapwood.study.table import Summary, Table, over_seeds

from .rows import trials

PRINTED = {  # row: zeros in percent (Tables 2-4), kFLOPs (Table 5), test accuracy in percent (Tables 3, 4, 13), epochs
    "S": (None, None, 84.35, 46),
    "G1": (70.25, 191, 87.90, 62), "G2": (74.64, 163, 87.48, 62), "G3": (70.25, 191, 87.12, 47),
    "G4": (85.00, 96, 88.19, 62), "G5": (74.59, 163, 87.83, 67), "G6": (79.25, 133, 86.69, 74),
    "G7": (77.59, 144, 88.07, 53), "G8": (82.44, 113, 88.67, 54),
    "L1": (79.88, 129, 87.56, 88), "L2": (84.85, 97, 86.79, 88),
    "L3": (79.88, 129, 87.11, 75), "L4": (84.87, 97, 86.94, 73),
    "M": (79.87, 129, 88.72, None),
}  # fmt: skip


def _claims() -> Iterator[Claim]:
    for label, (zeros, kflops, accuracy, _) in PRINTED.items():
        where = _where(label)
        if zeros is not None:
            yield Claim(
                f"{where}, zeros",
                f"{label}: share of zero weights, %",
                zeros,
                0.005,
                _percent(label, "sparsity", "network"),
            )
        if kflops is not None:
            yield Claim(
                f"Table 5, {label}",
                f"{label}: kFLOPs after pruning",
                kflops,
                0.5,
                _found(label, "flops", "network", 1e-3),
            )
        yield Claim(f"{where}, test", f"{label}: test accuracy, %", accuracy, 4.0 if label == "S" else 1.0,
                    _percent(label, "accuracy", "test"))  # fmt: skip


def _where(label: str) -> str:
    table = {"S": "Table 3", "M": "Table 4", "L": "Table 3", "G": "Table 2 and 13"}[label[0]]
    return f"{table}, row {label}"


def _percent(label: str, metric: str, split: str) -> Callable[[Table], Summary | None]:
    return _found(label, metric, split, 100)


def _found(label: str, metric: str, split: str, scale: float) -> Callable[[Table], Summary | None]:
    def found(rows: Table) -> Summary | None:
        ours = over_seeds(rows, metric, split).get(label)
        if ours is None:
            return None
        low, high = (None if end is None else end * scale for end in (ours.low, ours.high))
        return Summary(ours.mean * scale, low, high, ours.n)

    return found


BESIDE = ("row", "seeds (n)", "zeros printed (%)", "zeros ours (%)", "cycles made", "epochs printed", "epochs ours",
          "test accuracy printed (%)", "test accuracy ours (%)")  # fmt: skip


def printed_and_ours(rows: Table) -> Grid:
    """Zeros, cycles, epochs and test accuracy: the paper's number, ours, how many seeds."""
    done = over_seeds(rows, "steps", "network")
    return Grid(BESIDE, tuple(_beside(rows, label, done[label].n) for label in PRINTED if label in done))


def _beside(rows: Table, label: str, seeds: int) -> tuple[str, ...]:
    zeros, _, accuracy, epochs = PRINTED[label]
    made, took = (over_seeds(rows, name, "network").get(label) for name in ("cycles", "epochs"))
    return (
        label, str(seeds), _or_dash(zeros), number(_percent(label, "sparsity", "network")(rows), 2), number(made, 1),
        _or_dash(epochs), number(took, 1), _or_dash(accuracy), number(_percent(label, "accuracy", "test")(rows), 2),
    )  # fmt: skip


def _or_dash(value: float | None) -> str:
    return NOTHING if value is None else f"{value:g}"


def quality(rows: Table) -> Grid:
    """True top-1 and top-5 beside the two columns that the paper printed under those names."""
    splits = ("train", "valid", "test")
    names = (("accuracy", "top-1 (= accuracy)"), ("top5", "true top-5"), ("class0_top1", "predicted as class 0"),
             ("class0_top5", "class 0 among five best"))  # fmt: skip
    return grid(
        rows, *(Column(f"{title}, {split} (fraction)", name, split, 4) for name, title in names for split in splits)
    )


STUDY = Study(
    name="activation_pruning",
    title="Activation-based pruning of a fully connected network on Fashion-MNIST",
    paper="Ganguli & Chong, Activation-based pruning of neural networks, Algorithms 17(1):48, 2024",
    trials=trials,
    claims=tuple(_claims()),
    tables=(
        Tabled("Printed and ours", "The paper's rows are single runs without a seed.", printed_and_ours),
        Tabled(
            "Top-1 and top-5",
            "The paper's columns Top 1 % and Top 5 % come from a metric that was given integer labels where it expects "
            "one-hot ones; they count how often class 0 is predicted, and how often it is among the five best.",
            quality,
        ),
    ),
    figures=(
        Figure(
            "Test accuracy", "Circles: seeds. Diamond: their mean. Bar: its 95 % interval (Student's t).", accuracies
        ),
        Figure(
            "Training",
            "Means over seeds; the band runs from the lowest to the highest seed. Runs differ in length.",
            curves,
        ),
        Figure(
            "Which weights of the first hidden layer are left",
            "Seed 0, at the end; black: not 0. A row is a neuron, a column one of the 784 pixels.",
            weight_maps("hidden1.weight"),
        ),
    ),
    notes="Five seeds at scale paper; one at smoke and two at small, where networks train too short for any verdict.",
)
