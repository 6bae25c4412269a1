"""Quickstart: eight ways to train a small network with a fifth of its hidden weights, on digits.

Expected: no number of any paper; digits are too easy for that. It shows what the library does and how it reports.
Every arm trains for the same 40 epochs and prunes the hidden layers to sparsity 0.8; a cycle that waits for an
accuracy the network no longer reaches is made when the training accuracy has not risen for three epochs.
Run: sapwood run quickstart (or: make demo). Every scale is the same. It ends with a smaller network in a file.
Last run: 2026-11-28, at 2 commits, fc2a6de78fb9 to 830fd132a568, on cpu (x86_64, AVX512), threads: 1; 40 trials, 8.8
minutes of computing.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from sapwood.study import words
from sapwood.study.grid import MINUS, number
from sapwood.study.plots import accuracies, curves, weight_maps
from sapwood.study.seeds import minus
from sapwood.study.smaller import smaller
from sapwood.study.study import Figure, Study
from sapwood.study.table import Summary, Table, by_seed, difference, over_seeds
from sapwood.trials.trial import Trial, Value

Options = dict[str, Value]

SEEDS = (0, 1, 2, 3, 4)
SPARSITY = 0.8
EPOCHS = 40
CHANCE = 0.5  # a tenth would be luck; a network that learned anything is far above
ALL_EPOCHS: Options = {"stop": "epochs", "epochs": EPOCHS}
CYCLES: Options = {"sparsity": SPARSITY, "plateau": 3, **ALL_EPOCHS}
GLOBAL: Options = {"base_of": "prunable", **CYCLES}
ARMS: dict[str, tuple[str, Options]] = {
    "dense": ("dense", ALL_EPOCHS),
    "global Neurons": ("global_activation", {"criterion": "activity", **GLOBAL}),
    "global Neurons & Weights": ("global_activation", {"criterion": "active_magnitude", **GLOBAL}),
    "local Neurons": ("local_activation", {"criterion": "activity", **CYCLES}),
    "local Neurons & Weights": ("local_activation", {"criterion": "active_magnitude", **CYCLES}),
    "magnitude": ("gradual_magnitude", {"sparsity": SPARSITY, "begin": 5.0, "end": 25.0, "every": 73, **ALL_EPOCHS}),
    "global random neurons": ("global_activation", {"criterion": "random_neuron", **GLOBAL}),
    "local random neurons": ("local_activation", {"criterion": "random_neuron", **CYCLES}),
}
SCOPES = {"global": "hidden layers ranked together", "local": "each hidden layer ranked by itself"}
SCORES = {
    "Neurons": "by how often a neuron is active",
    "Neurons & Weights": "by how often a neuron is active times the weight's magnitude",
    "random neurons": "neurons drawn by lot",
}
CODES = {
    "dense": "the network with nothing removed",
    **{f"{scope} {score}": f"{where}, {by}" for scope, where in SCOPES.items() for score, by in SCORES.items()},
    "magnitude": "the smallest weights of the hidden layers, a few more every two epochs",
}
AGAINST = "better than random neurons among the same layers (all together, or each alone)"
SMALLER = "local Neurons"  # the arm whose network the demo writes: every layer loses whole neurons
NEXT = "sapwood prune FILE.py:make --example 1,3,224,224 --macs 0.5 --to small.safetensors"
CONTROL = {label: f"{label.split()[0]} random neurons" for label in ARMS if "Neurons" in label}


def trials(scale: str) -> Iterator[Trial]:
    """Each arm with each seed; a seed's trials are neighbours, so that all arms have something early."""
    for seed in SEEDS:
        for label, (method, options) in ARMS.items():
            yield Trial.make(method, "mlp_digits", seed, label, **options)


def summary(rows: Table) -> Iterator[str]:
    """What the numbers say, in words that follow from them."""
    accuracy = over_seeds(rows, "accuracy", "test")
    if len(accuracy) < 2:
        yield "Too few arms have finished to compare any."
        return
    yield _ranking(accuracy)
    yield _sparsities(over_seeds(rows, "sparsity_hidden", "network"))
    yield from _against_random(rows, accuracy)
    yield from _collapsed(rows)


def verdict(rows: Table) -> list[str]:
    """The same in short."""
    accuracy = over_seeds(rows, "accuracy", "test")
    if len(accuracy) < 2:
        return [*summary(rows)]
    best, worst, dense = *_ends(accuracy), accuracy.get("dense")
    reference = f"dense {number(dense)}; " if dense else ""
    random = words.count(" arms by activity", _pairs(rows), AGAINST, "worse")
    lines = (
        f"Test accuracy over {_seeds(accuracy.values())}: {reference}best pruned {best} {number(accuracy[best])}; "
        f"worst {worst} {number(accuracy[worst])}.",
        _sparsities(over_seeds(rows, "sparsity_hidden", "network")),
        random,
        *_collapsed(rows),
    )
    return [line for line in lines if line]


def _pairs(rows: Table) -> words.Pairs:
    """Each arm by activity minus random neurons in the same scope, seed by seed."""
    found = by_seed(rows, "accuracy", "test")
    gaps = {label: minus(found.get(label, {}), found.get(other, {})) for label, other in CONTROL.items()}
    return words.there(gaps)


def _ends(accuracy: dict[str, Summary]) -> tuple[str, str]:
    """The pruned arms with the highest and the lowest mean."""
    pruned = [label for label in accuracy if label != "dense"]
    return max(pruned, key=lambda label: accuracy[label].mean), min(pruned, key=lambda label: accuracy[label].mean)


def ends(folder: Path) -> Iterator[str]:
    """The smaller network that a demo is for, and what to type for one's own."""
    of = {trial.arm: trial for trial in trials("smoke") if trial.seed == SEEDS[0]}
    yield from smaller(folder, of[SMALLER], of["dense"])
    yield f"next, for a network of your own: {NEXT}"


def _ranking(accuracy: dict[str, Summary]) -> str:
    """Best and worst by the mean, and the dense network."""
    best, worst = _ends(accuracy)
    said = (
        f"Test accuracy, mean [95 % interval] over {_seeds(accuracy.values())}: of the pruned arms {best} has the "
        f"highest, {number(accuracy[best])}, and {worst} the lowest, {number(accuracy[worst])}"
    )
    return said + (f"; the dense network has {number(accuracy['dense'])}." if "dense" in accuracy else ".")


def _sparsities(found: dict[str, Summary]) -> str:
    """Whether the arms are comparable: do they have the sparsity asked for?"""
    pruned = {label: each for label, each in found.items() if label != "dense"}
    short = [f"{label} ({number(each)})" for label, each in pruned.items() if abs(each.mean - SPARSITY) > 0.005]
    if short:
        return f"Not comparable with the rest, as not at sparsity {SPARSITY} of the hidden layers: {', '.join(short)}."
    return f"All {len(pruned)} pruned arms are at sparsity {SPARSITY} of the hidden layers after {EPOCHS} epochs."


def _against_random(rows: Table, accuracy: dict[str, Summary]) -> Iterator[str]:
    """Does knowing what is active help? The difference to random neurons in the same scope, seed by seed."""
    pairs = [
        (label, difference(rows, "accuracy", "test", label, CONTROL[label])) for label in CONTROL if label in accuracy
    ]
    found = [(label, gap) for label, gap in pairs if gap is not None]
    sorts: dict[str, list[str]] = {}
    for label, gap in found:
        sorts.setdefault(_sort(gap), []).append(f"{label} ({_signed(gap)})")
    if found:
        yield (
            "Against random neurons in the same scope, by the difference in test accuracy seed by seed: "
            + "; ".join(f"{sort}: {', '.join(each)}" for sort, each in sorts.items())
            + f". With {_seeds(gap for _, gap in found)}, arms that cannot be told apart may still differ."
        )


def _collapsed(rows: Table) -> Iterator[str]:
    """Seeds that ended near chance: they make a mean and its interval say little."""
    found = by_seed(rows, "accuracy", "test")
    said = [
        f"{label}, seed {seed} ({value:.3f})"
        for label, seeds in found.items()
        for seed, value in seeds.items()
        if value < CHANCE
    ]
    if said:
        yield (
            f"Collapsed, with less than half of the test images right: {', '.join(said)}; on another processor another "
            "seed may collapse."
        )


def _sort(gap: Summary) -> str:
    if gap.low is None or gap.high is None or gap.low <= 0 <= gap.high:
        return "not to be told from random"
    return "better than random" if gap.mean > 0 else "worse than random"


def _signed(gap: Summary) -> str:
    said = f"{gap.mean:+.3f}"
    if gap.low is not None and gap.high is not None:
        said += f" [{gap.low:+.3f}, {gap.high:+.3f}]"
    return said.replace("-", MINUS)


def _seeds(found: Iterable[Summary]) -> str:
    counts = sorted({each.n for each in found})
    said = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"{said} seed" if said == "1" else f"{said} seeds"


STUDY = Study(
    name="quickstart",
    title="Quickstart: eight ways to prune a small network on digits",
    paper="Arms after Ganguli & Chong, Algorithms 17(1):48, 2024, and Zhu & Gupta, arXiv:1710.01878; other data.",
    trials=trials,
    summary=lambda rows: list(summary(rows)),
    verdict=verdict,
    codes=CODES,
    ends=ends,
    command="sapwood run quickstart",
    notes="Network 64-100-80-60-40-10 on scikit-learn's 8 x 8 digits: 1,154 train, 288 validate, 355 test.",
    figures=(
        Figure(
            "Test accuracy",
            "Circles: seeds. Diamond: their mean. Bar: its 95 % interval (Student's t), five seeds.",
            accuracies,
        ),
        Figure(
            "Training",
            "Means over seeds; the band runs from the lowest to the highest seed. Sparsity is of all weights, "
            "the output layer's included. Training accuracy is averaged over the epoch's batches while it trains.",
            curves,
        ),
        Figure(
            "Which weights of the first hidden layer are left",
            "Seed 0, after training; marked: not 0. A row is a neuron, a column one of the 64 pixels. "
            "The dense map is what all arms start from.",
            weight_maps("hidden1.weight"),
        ),
    ),
)
