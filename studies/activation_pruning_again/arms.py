"""The arms: those that decide, with many seeds, and the paper's own reading of what its code does otherwise.

What is called as in the study activation_pruning is the same trial, but for the arms V. A seed's arms are neighbours.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from activation_pruning import arms as first

from sapwood.methods.presets import preset
from sapwood.study.budgets import Connected
from sapwood.trials.trial import Trial, Value

Options = dict[str, Value]
LUCK, NORM, MAGNITUDE, NARROW = "C random neuron", "C column norm", "C magnitude", first.NARROW
DECISIVE = ("S", "G1", LUCK, NORM, MAGNITUDE, "M", "L3", NARROW)  # with many seeds; all others with few
SETS = {  # arm: what is counted before each cycle instead of every step's samples, and how many samples (None: all)
    "G1, set of 32": ("fresh", 32), "G1, set of 1,024": ("fresh", 1024), "G1, all images": ("fresh", None),
    "G1, held-out set": ("held out", 1024),
}  # fmt: skip
LOCAL: dict[str, Options] = {  # arm, beginning with the one that it differs from: how
    "L1, 1,024 images": {"probe": 1024}, "L3, 1,024 images": {"probe": 1024},
    "L1 by random neurons": {"criterion": "random_neuron"}, "L3 by magnitude": {"criterion": "magnitude"},
}  # fmt: skip
RATES = (0.003, 0.03)  # beside the paper's 0.01
MNIST = {"MNIST S": "S", "MNIST G1": "G1", "MNIST random neuron": LUCK}  # the same trials on other images
LENET, LEFT = Connected((784, 300, 100, 10)), 0.0106  # Table 10 has 1.06 % of its weights left
_HOW: dict[str, tuple[str, Options]] = {
    "global": ("global_activation", {"cycles": 10, "sparsity": 1 - LEFT}),
    "local": ("local_activation", {"sparsity": LENET.hidden_sparsity(1 / LEFT), "probe": 1024}),
}
TABLE_10: dict[str, tuple[str, Options]] = {"LeNet dense": ("dense", {})} | {
    f"LeNet {scope}, {score}": (method, options | {"criterion": criterion})
    for scope, (method, options) in _HOW.items()
    for score, criterion in first.SCORES.items()
}
STRENGTHS = (0.0001, 0.0002, 0.0003, 0.0005, 0.001, 0.002, 0.003, 0.01)
PENALTIES = {kind: {at: f"V {kind} {at:g}" for at in STRENGTHS} for kind in ("nuclear", "weighted")}
WAIT = 10  # epochs after which a cycle of the singular-value runs falls in any case, so that all ten are made


class Extent(NamedTuple):
    """What a scale changes in the arms."""

    length: first.Length
    many: int  # seeds of DECISIVE
    few: int  # of the rest, but for:
    spectra: int  # runs whose singular values are followed
    lenet: int
    epochs: int  # of the runs whose singular values are followed
    images: int  # that train
    strengths: tuple[float, ...] = STRENGTHS
    on_mnist: Options = {}  # noqa: RUF012 - never changed
    batch: int | None = None  # on MNIST


EXTENTS = {
    "smoke": Extent(first.LENGTHS["smoke"], 1, 1, 1, 1, 2, 5_400, (0.001, 0.01), {"epochs": 1}, 540),
    "small": Extent(first.LENGTHS["paper"], 7, 3, 1, 1, 80, 54_000, STRENGTHS[1:7], {"epochs": 60}),
    "paper": Extent(first.LENGTHS["paper"], 30, 10, 5, 5, 80, 54_000),
}


def trials(scale: str) -> Iterator[Trial]:
    """Every arm with as many seeds as it has."""
    extent = EXTENTS[scale]
    for seed in range(extent.many):
        paper = first.of_the_paper(extent.length, seed)
        every = paper | {trial.arm: trial for trial in first.controls(extent.length, paper["G1"])}
        yield from (every[arm] for arm in every if arm in DECISIVE)
        if seed < extent.few:
            yield from _readings(extent, paper)
            for arm, same in MNIST.items():
                there = replace(_other(every[same], arm, **extent.on_mnist), task="mlp_mnist")
                yield there.under(batch_size=extent.batch)
        if seed < extent.lenet:
            for arm, (method, options) in TABLE_10.items():
                made = Trial.make(method, "lenet300_mnist_sgd", seed, arm, **options | extent.on_mnist)
                yield made.under(batch_size=extent.batch)
        if seed < extent.spectra:
            yield from _spectra(extent, seed)


def _readings(extent: Extent, paper: dict[str, Trial]) -> Iterator[Trial]:
    """Sets, local pruning with more images and other scores, and other learning rates."""
    for arm, (source, samples) in SETS.items():
        there = extent.images if source == "fresh" else extent.images // 9  # the validation images
        yield _other(paper["G1"], arm, source=source, probe=min(samples or there, there))
    yield paper["L1"]
    for arm, options in LOCAL.items():
        yield _other(paper[arm[:2]], arm, **options)
    for rate in RATES:
        for arm in ("S", "G1"):
            yield replace(paper[arm].under(learning_rate=rate), arm=f"{arm} at {rate:g}")


def _other(trial: Trial, arm: str, **options: Value) -> Trial:
    return Trial.make(trial.method, trial.task, trial.seed, arm, **dict(trial.options) | options)


def _spectra(extent: Extent, seed: int) -> Iterator[Trial]:
    """All of one length; the marks end at 0.98 as in the text, and ten cycles of 8 % are made: 80 %."""
    task = extent.length.task
    fixed: Options = {"stop": "epochs", "epochs": extent.epochs}
    made = [Trial.make("dense", task, seed, first.V_DENSE, **fixed)]
    for arm, criterion in first.PRUNING.items():
        method, options = preset("svd-study", criterion=criterion, wait=WAIT)
        made.append(Trial.make(method, task, seed, arm, **options | extent.length.early | fixed))
    for kind, strengths in PENALTIES.items():
        for strength in extent.strengths:
            its: Options = {"strength": strength, "weighted": kind == "weighted", "epochs": extent.epochs}
            made.append(Trial.make("nuclear", task, seed, strengths[strength], **its))
    yield from (trial.tracing("spectra") for trial in made)
