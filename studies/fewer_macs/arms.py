"""The arms: a trained network is cut by one of many ways to a budget of multiply-adds; all recover alike.

    NETWORK, dense                        as it was trained;   NETWORK, trained on: the recovery, and nothing cut
    NETWORK, WAY, BUDGET                  cut and recovered;   ..., distilled: it learns from the dense network as well
    NETWORK, WAY, BUDGET, cut             what takes longer to cut than to recover is cut once for all seeds

Torch-Pruning's networks are files of benchmarks/peers/cut_by_torch_pruning.py; their arms are there when these are.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from re import sub
from typing import NamedTuple

from sapwood.trials.elsewhere import Elsewhere
from sapwood.trials.trial import Trial, Value

Options = Mapping[str, Value]
FILES = Path("results/peers")  # where Torch-Pruning's networks are looked for
KEPT = Path(__file__).parent / "peers.txt"  # their digests, to read results without them
DENSE, ON, CUT, DISTILLED, PRUNE = "dense", "trained on", "cut", "distilled", "prune"
STREAM: Options = {"keep": "conv1"}  # stays whole: its next width is half of it, far beyond most budgets
OURS: dict[str, tuple[str, Options]] = {  # way -> (method, options)
    PRUNE: ("one_call", {}),
    "prune, sum": ("one_call", {"by": "magnitude"}),
    "prune, LAMP": ("one_call", {"by": "lamp"}),
    "prune, L2": ("one_call", {"by": "l2", **STREAM}),
    "prune, norm scale": ("one_call", {"by": "norm_scale", **STREAM}),
    "prune, Taylor": ("one_call", {"by": "taylor_unit", **STREAM}),
    "prune, geometric median": ("one_call", {"by": "geometric_median", **STREAM}),
    "prune, activation counts": ("one_call", {"by": "activity", **STREAM}),
    "prune, luck": ("one_call", {"by": "luck", **STREAM}),
    "prune, uniform": ("one_call", {"uniform": True}),
    "prune, any width": ("one_call", {"multiple": 1}),
    "L1 filters": ("l1_filters", {"multiple": 8}),
    "L1 filters, scanned": ("l1_filters", {"multiple": 8, "allocation": "sensitivity"}),
    "LASSO": ("lasso_channels", {"multiple": 8}),
    "ThiNet": ("thinet", {"between": 0}),
    "soft filter": ("soft_filter", {}),
    "network slimming": ("network_slimming", {"initial": 0.0}),
}
ALSO_BEFORE, ONCE = ("soft filter", "network slimming"), ("L1 filters, scanned",)  # those train an epoch more
HOW = ("L1", "L1, LAMP", "group norm", "group norm, LAMP", "group norm, LAMP, any")
PEERS = tuple(f"Torch-Pruning, {how}" for how in HOW)
BEST: tuple[str, ...] = ()  # ways for ResNet-56, as the report of ResNet-20 names them: three of OURS, two of PEERS


class Net(NamedTuple):
    """A trained network."""

    name: str
    task: str
    budgets: Mapping[str, tuple[float, tuple[str, ...], int]]  # share of the multiply-adds, ways, epochs of recovery
    taught: tuple[str, ...]  # ways that are distilled besides
    seeds: int = 3
    train: int = 0  # epochs, where the task does not begin with trained weights


EVERY = (*OURS, *PEERS)
TAUGHT = (PRUNE, PEERS[3], PEERS[4])
THIRDS = {"75 %": 0.75, "50 %": 0.5, "35 %": 0.35}
LESS = {**THIRDS, "1/2.11": 1 / 2.11, "1/2.55": 1 / 2.55}
DIGITS = Net("digits", "conv_digits", {"50 %": (0.5, (PRUNE, *ONCE, PEERS[0]), 1)}, (PRUNE,), 1, 1)
ALSO = {"73 %": (0.73, (PRUNE,), 10)}
SMALL = Net("ResNet-20", "resnet20_cifar_trained", {at: (of, EVERY, 1) for at, of in THIRDS.items()} | ALSO, TAUGHT)
LARGE = Net("ResNet-56", "resnet56_cifar_trained", {name: (share, BEST, 1) for name, share in LESS.items()}, ())
SCALES = {"smoke": (DIGITS,), "small": (SMALL,), "paper": (SMALL, LARGE)}
RECIPE: Options = {"learning_rate": 0.01, "course": "cosine", "precision": "bfloat16"}


def trials(scale: str) -> Iterator[Trial]:
    """All trials of a scale; of ResNet-56 none, as long as nobody has said which ways are the best."""
    for seed in range(max(net.seeds for net in SCALES[scale])):
        for net in SCALES[scale]:
            yield from _arms(net, seed) if net.budgets["50 %"][1] else ()


def timed(scale: str) -> list[Trial]:
    """The trials whose networks are timed: those of seed 0; distilled ones have the shapes of others."""
    return [trial for trial in trials(scale) if not trial.seed and not trial.arm.endswith((ON, CUT, DISTILLED))]


def _arms(net: Net, seed: int) -> Iterator[Trial]:
    dense = Trial.make("dense", net.task, 0, f"{net.name}, {DENSE}", stop="epochs", epochs=net.train)
    if seed == 0:
        yield dense
    yield _recovered(net, f"{net.name}, {ON}", seed, dense, 1)
    for budget, (share, ways, epochs) in net.budgets.items():
        for way in ways:
            for trial in _cut(net, way, budget, share, epochs, seed, dense):
                yield trial
                if way in net.taught:
                    yield replace(trial, arm=f"{trial.arm}, {DISTILLED}").after(teacher=dense)


def _cut(net: Net, way: str, budget: str, share: float, epochs: int, seed: int, dense: Trial) -> Iterator[Trial]:
    """One way to one budget: cut and recovered in one trial, or recovered from what was cut before or elsewhere."""
    arm = f"{net.name}, {way}, {budget}"
    if way in OURS and way not in ONCE:
        yield _made(net, way, share, seed, arm, epochs).after(start=dense)
    elif way in OURS:
        cut = _made(net, way, share, 0, f"{arm}, {CUT}", 0).after(start=dense)
        recovered = _recovered(net, arm, seed, cut, epochs)
        yield from (cut, recovered) if seed == 0 else (recovered,)
    elif (file := Elsewhere.there(FILES / file_name(arm), arm, KEPT)) is not None:
        yield _recovered(net, arm, seed, file, epochs)


def _made(net: Net, way: str, share: float, seed: int, arm: str, tune: int) -> Trial:
    method, options = OURS[way]
    size: Options = {"kept": share, "recover": tune} if method == "thinet" else {"macs": share, "tune": tune}
    size = {"pruned": 1 - share, "tune": tune} if method == "soft_filter" else size
    more: Options = {"epochs": int(way in ALSO_BEFORE), "rate": 1.0}
    return Trial.make(method, net.task, seed, arm, **options, **size, **more).under(**RECIPE)


def _recovered(net: Net, arm: str, seed: int, start: Trial | Elsewhere, epochs: int) -> Trial:
    """The recovery of a network as it is."""
    made = Trial.make("one_call", net.task, seed, arm, macs=1.0, tune=epochs, rate=1.0)
    return made.under(**RECIPE).after(start=start)


def file_name(arm: str) -> str:
    """What the file of an arm's network is called."""
    return f"{sub('[^A-Za-z0-9.]+', '_', arm).strip('_')}.safetensors"
