"""Trajectories: what each method removes from one small network, row by row; 1 stays, 0 went.

Nothing here is drawn at random but the probe's samples: weights and inputs are sines, a batch is the whole training
split, there is no dropout. The scores at every cut are far enough apart that rounding cannot decide (a test moves the
initial weights a little and gets the same masks), so another BLAS must find these bits too. When a method is changed
on purpose, `python tests/golden/trajectories.py` prints the new ones; its version rises in methods/__init__.py.
"""

import math
from copy import deepcopy
from functools import partial
from typing import NamedTuple

import torch
from torch import nn
from torch.optim import SGD

from sapwood.methods import METHODS
from sapwood.training.given import Given
from sapwood.training.run import start
from sapwood.training.task import Batch, Data, Task

OPTIONS = {
    "adversarial_neural_pruning": {"low": -2.0, "high": 2.0, "eps": 0.1, "steps": 2, "step": 0.05, "suppression": 0.1}
    | {"beta": 0.01, "start": 2.0, "pruned": 0.4, "rate": 0.05, "mask_rate": 0.3, "epochs": 8, "tune": 2}
    | {"judged": 48, "judge_steps": 2},
    "at_init": {"sparsity": 0.5, "samples": 48, "epochs": 10},
    "deep_compression": {"sparsity": 0.6, "rounds": 2, "first_epochs": 4, "round_epochs": 2, "rate": 0.5, "bits": "2"}
    | {"share_epochs": 3, "share_rate": 0.1},
    "dense": {"epochs": 10, "target": 0.75, "stop": "epochs"},
    "dynamic_surgery": {"c": "0", "band": 0.2, "gamma": 0.1, "dense_epochs": 2, "surgery": 6, "epochs": 8},
    "flop": {"sparsity": 0.5, "rate": 0.5, "rise": 0.2, "epochs": 4, "gate_epochs": 8, "tune": 2},
    "global_activation": {"criterion": "active_magnitude", "sparsity": 0.5, "cycles": 3, "first": 0.5, "target": 0.8}
    | {"stop": "epochs", "epochs": 10},
    "gradual_magnitude": {"sparsity": 0.6, "begin": 2, "end": 9, "every": 3, "epochs": 12},
    "iterative_magnitude": {"sparsity": 0.7, "rounds": 3, "first_epochs": 4, "round_epochs": 2, "rate": 0.5},
    "l1_filters": {"macs": 0.6, "epochs": 6, "tune": 4, "rate": 0.5},
    "lasso_channels": {"pruned": 0.5, "epochs": 6, "tune": 4, "rate": 0.5},
    "local_activation": {"criterion": "activity", "sparsity": 0.4, "first": 0.5, "target": 0.95, "stop": "epochs"}
    | {"epochs": 10},
    "lottery_ticket": {"each": 0.3, "rounds": 2, "rewind": 1.0, "round_epochs": 4},
    "low_rank": {"ranks": "3 4", "epochs": 10, "stop": "epochs"},
    "network_slimming": {"macs": 0.6, "strength": 0.02, "epochs": 8, "tune": 3, "rate": 0.2},
    "nuclear": {"strength": 0.1, "every": 1, "epochs": 10},
    "one_call": {"macs": 0.6, "multiple": 1, "epochs": 6, "tune": 4, "rate": 0.5},
    "one_pass": {"sparsity": 0.5, "samples": 48, "epochs": 6, "tune": 4, "rate": 0.5},
    "one_pass_units": {"sparsity": 0.4, "multiple": 1, "samples": 48, "epochs": 6, "tune": 4, "rate": 0.5},
    "pruning_from_scratch": {"macs": 0.6, "level": 0.5, "rate": 0.3, "gate_epochs": 4, "epochs": 6},
    "rethink": {"protocol": "fine_tune", "widths": "uniform", "epochs": 10, "tune": 8, "rate": 0.5},
    "self_adaptive": {"budget": 0.7, "rate": 0.1, "start": 1.0, "epochs": 10},
    "soft_filter": {"pruned": 0.3, "epochs": 8, "tune": 2, "rate": 0.5},
    "sparse_low_rank": {"sparsity": 0.5, "epochs": 10, "tune": 4},
    "sparse_structure_selection": {"kind": "channels", "strength": 0.05, "epochs": 10, "tune": 3},
    "sparse_training": {"sparsity": 0.6, "every": 2, "epochs": 10},
    "svd_training": {"sparsity": 0.5, "epochs": 4, "sparse_epochs": 8, "tune": 3},
    "thinet": {"kept": 0.5, "epochs": 6, "between": 2, "recover": 2, "rate": 0.5},
    "transformable_architecture_search": {"rate": 0.3, "teach_epochs": 3, "search_epochs": 12, "epochs": 4},
    "unstructured_magnitude": {"sparsity": 0.6, "epochs": 6, "tune": 4, "rate": 0.5},
    "variational_dropout": {"log_sigma2": -3.0, "begin": 1.0, "end": 4.0, "lr": 0.1, "epochs": 8, "tune": 3},
}


NORMED = ("network_slimming",)  # methods that need batch norms: they get a network that has them
GIVEN = {"rethink": ("like", "start")}  # methods that go on from other trials: what of them is a network with masks


class Trajectory(NamedTuple):
    """One life of a method, in whole numbers."""

    correct: list[int]  # of the 48 training samples, epoch by epoch, with the weights before the epoch's step
    pruned: list[int]  # the steps after which something was removed
    masks: dict[str, str]  # a word of 0s and 1s for each neuron; where units went, one for each site; 1 stays


GOLDEN = {
    "adversarial_neural_pruning": Trajectory(
        correct=[14, 15, 21, 20, 30, 27, 28, 29, 27, 27],
        pruned=[9],
        masks={"0": "11111010", "2": "11001010"},
    ),
    "at_init": Trajectory(
        correct=[12, 20, 22, 27, 26, 28, 29, 30, 34, 34],
        pruned=[1],
        masks={
            "0.weight": "111111 001101 011010 101111 100110 100110 000110 100101",
            "2.weight": "10001111 10010101 10000000 11010110 01110000 01000010 00010000 10110111",
            "4.weight": "01110000 11110001 11010101",
        },
    ),
    "deep_compression": Trajectory(
        correct=[11, 17, 26, 32, 31, 30, 25, 25, 26, 26, 26],
        pruned=[5, 7, 9],
        masks={
            "0.weight": "111000 010100 111001 111010 100000 011000 000010 000011",
            "2.weight": "00101010 10110000 10001101 10000000 00010100 11100111 00111001 00010101",
            "4.weight": "00101110 00100011 01001100",
        },
    ),
    "dense": Trajectory(correct=[11, 17, 26, 32, 32, 35, 38, 43, 43, 42], pruned=[], masks={}),
    "dynamic_surgery": Trajectory(
        correct=[11, 17, 26, 18, 19, 27, 33, 37, 39, 42],
        pruned=[3, 4, 5, 6, 7, 9],
        masks={
            "0.weight": "111100 011100 111111 111011 100100 011010 001010 011011",
            "2.weight": "01111011 10110100 10101111 10001001 01010100 11111111 11111001 01010101",
            "4.weight": "11111110 00101011 11001101",
        },
    ),
    "flop": Trajectory(
        correct=[12, 12, 19, 22, 25, 24, 26, 26, 29, 26, 20, 35, 32, 34],
        pruned=[13],
        masks={"0.0": "101", "2.0": "1000"},
    ),
    "global_activation": Trajectory(
        correct=[11, 17, 26, 29, 31, 34, 35, 38, 40, 41],
        pruned=[3, 4, 6],
        masks={
            "0.weight": "111100 000100 101001 111011 100100 011010 001010 011011",
            "2.weight": "00101011 11111111 10001100 10000000 00000000 01000010 00000000 01010101",
        },
    ),
    "gradual_magnitude": Trajectory(
        correct=[11, 17, 26, 32, 32, 30, 32, 36, 35, 37, 38, 41],
        pruned=[2, 5, 8, 9],
        masks={
            "0.weight": "111100 010100 100001 111010 100000 011000 000010 001011",
            "2.weight": "00101011 10110000 10001101 10000000 01000100 11100011 00111001 00010101",
        },
    ),
    "iterative_magnitude": Trajectory(
        correct=[11, 17, 26, 32, 29, 29, 30, 31, 26, 27],
        pruned=[5, 7, 9],
        masks={
            "0.weight": "110000 010100 100001 111010 100000 011000 000010 000000",
            "2.weight": "00001000 10110000 10001101 10000000 00000100 11100010 00111001 00000100",
            "4.weight": "00001110 00100000 01001100",
        },
    ),
    "l1_filters": Trajectory(
        correct=[11, 17, 26, 32, 32, 35, 31, 34, 34, 33],
        pruned=[7],
        masks={"0": "11110101", "2": "11100110"},
    ),
    "lasso_channels": Trajectory(
        correct=[11, 17, 26, 32, 32, 35, 36, 38, 40, 42],
        pruned=[7],
        masks={"0": "10010101", "2": "11100001"},
    ),
    "local_activation": Trajectory(
        correct=[11, 17, 26, 30, 30, 31, 36, 42, 42, 42],
        pruned=[3, 4],
        masks={
            "0.weight": "111111 000000 000000 111111 000000 111111 111111 111111",
            "2.weight": "11111111 11111111 11111111 00000000 00000000 11111111 00000000 11111111",
        },
    ),
    "lottery_ticket": Trajectory(
        correct=[11, 17, 26, 32, 23, 24, 27, 25, 26, 29],
        pruned=[5, 8],
        masks={
            "0.weight": "110000 011100 111001 111011 100100 011110 000010 100101",
            "2.weight": "00101001 10110001 10001101 10010000 01010100 11100111 10111001 01010101",
            "4.weight": "01111110 01101011 11011101",
        },
    ),
    "low_rank": Trajectory(correct=[12, 19, 21, 25, 28, 27, 29, 29, 32, 33], pruned=[], masks={}),
    "network_slimming": Trajectory(
        correct=[7, 17, 24, 27, 24, 24, 25, 30, 27, 27, 32],
        pruned=[9],
        masks={"0": "10111100", "3": "11111010"},
    ),
    "nuclear": Trajectory(correct=[11, 17, 27, 30, 30, 31, 32, 40, 43, 42], pruned=[], masks={}),
    "one_call": Trajectory(
        correct=[11, 17, 26, 32, 32, 35, 32, 37, 39, 42], pruned=[7], masks={"0": "10111101", "2": "01100111"}
    ),
    "one_pass": Trajectory(
        correct=[11, 17, 26, 32, 32, 35, 31, 33, 35, 33],
        pruned=[7],
        masks={
            "0.weight": "111000 011100 101001 101010 101100 011010 101010 001011",
            "2.weight": "10101001 11110000 10001101 10001101 01011100 11000101 10011001 01010101",
            "4.weight": "11001100 01101001 01001101",
        },
    ),
    "one_pass_units": Trajectory(
        correct=[11, 17, 26, 32, 32, 35, 37, 41, 42, 43], pruned=[7], masks={"0": "11110101", "2": "11101101"}
    ),
    "pruning_from_scratch": Trajectory(
        correct=[11, 11, 12, 15, 22, 27, 29, 30, 31, 33],
        pruned=[5],
        masks={"0": "10111010", "2": "01111110"},
    ),
    "rethink": Trajectory(
        correct=[15, 18, 19, 21, 20, 22, 25, 27],
        pruned=[1],
        masks={
            "0.weight": "011000 000011 000010 111000 000001 000001 100100 110111",
            "2.weight": "01110001 00000011 10001000 00011100 01011010 01010101 00000000 01001100",
        },
    ),
    "self_adaptive": Trajectory(correct=[11, 17, 26, 30, 28, 32, 32, 28, 30, 29], pruned=[], masks={}),
    "soft_filter": Trajectory(
        correct=[7, 13, 16, 20, 22, 22, 23, 22, 22, 22],
        pruned=[9],
        masks={"0": "01110101", "2": "01110110"},
    ),
    "sparse_low_rank": Trajectory(
        correct=[12, 12, 19, 22, 24, 25, 25, 30, 29, 28, 26, 27, 27, 28],
        pruned=[11, 11],
        masks={
            "0.0.weight": "111111 110100",
            "0.1.weight": "10 10 11 11 10 11 10 11",
            "2.0.weight": "11111111 10110001 10110001",
            "2.1.weight": "111 111 111 100 100 111 100 100",
            "0.0": "110",
            "2.0": "1110",
        },
    ),
    "sparse_structure_selection": Trajectory(
        correct=[11, 21, 28, 28, 28, 29, 29, 29, 31, 31, 32, 32, 32],
        pruned=[11],
        masks={"0": "11001010", "2": "01101111"},
    ),
    "sparse_training": Trajectory(
        correct=[12, 17, 21, 22, 24, 24, 25, 28, 30, 31],
        pruned=[1, 2, 4, 6],
        masks={
            "0.weight": "100010 010000 100110 111101 001000 000000 000101 110011",
            "2.weight": "01100001 00000000 11101001 10000000 00010100 00110000 10110001 01010101",
            "4.weight": "10110111 10011011 10011100",
        },
    ),
    "svd_training": Trajectory(
        correct=[12, 12, 18, 20, 23, 24, 25, 27, 31, 28, 28, 32, 32, 33, 33],
        pruned=[13],
        masks={"0.0": "101", "2.0": "1000"},
    ),
    "thinet": Trajectory(
        correct=[11, 17, 26, 32, 32, 35, 37, 38, 39, 40, 40, 40],
        pruned=[7, 9],
        masks={"0": "10001101", "2": "01101001"},
    ),
    "transformable_architecture_search": Trajectory(
        correct=[11, 17, 26, 6, 14, 16, 24, 22, 30, 30, 18, 20, 18, 18, 20, 19, 25, 19, 19],
        pruned=[16],
        masks={"0": "11111000", "2": "11111000"},
    ),
    "unstructured_magnitude": Trajectory(
        correct=[11, 17, 26, 32, 32, 35, 29, 28, 32, 33],
        pruned=[7],
        masks={
            "0.weight": "111100 010100 100001 111010 100000 011000 000010 001010",
            "2.weight": "00101010 10110000 10001101 10000000 01010100 11100111 00111001 00010101",
        },
    ),
    "variational_dropout": Trajectory(
        correct=[11, 17, 26, 26, 28, 23, 21, 27, 30, 27, 28],
        pruned=[9],
        masks={
            "0.weight": "111111 011111 101111 110101 111101 111110 101110 100001",
            "2.weight": "11111110 10111110 10111111 10111111 00111111 01111111 11111101 11101110",
            "4.weight": "01111101 11111110 11010101",
        },
    ),
}


def network(moved: float = 0.0, normed: bool = False) -> nn.Sequential:
    """6-8-8-3 with ReLU, batch norms before it if `normed`; `moved` is added to every weight."""
    between = [nn.BatchNorm1d(8), nn.ReLU()] if normed else [nn.ReLU()]
    model = nn.Sequential(nn.Linear(6, 8), *between, nn.Linear(8, 8), *deepcopy(between), nn.Linear(8, 3)).double()
    with torch.no_grad():
        for at, p in enumerate(model.parameters()):
            p.copy_(_sines(p.shape, at + 1) * (0.6 if p.dim() > 1 else 0.05) + moved)
    return model


def task(moved: float = 0.0, normed: bool = False) -> Task:
    """The network on 48 samples whose class is the largest of their first three inputs, all in one batch."""
    inputs = _sines((80, 6), 11) * 2
    every = Batch(inputs, inputs[:, :3].argmax(1))
    splits = every.take(slice(0, 48)), every.take(slice(48, 64)), every.take(slice(64, 80))
    recipe = partial(SGD, lr=0.4, momentum=0.8)
    return Task("golden", partial(network, moved, normed), Data(*splits), recipe, batch_size=48, classes=3)


def _sines(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    count = math.prod(shape)
    values = [math.sin(1 + seed * 12.9898 + i * i * 0.618 + i * 78.233) for i in range(count)]
    return torch.tensor(values, dtype=torch.float64).view(shape)


def life(method: str, moved: float = 0.0) -> Trajectory:
    """One life of a method on the network whose initial weights are `moved`."""
    assert method in OPTIONS, f"add short options of {method!r} to OPTIONS here; then run this file for its trajectory"
    run = start(task(moved, method in NORMED))
    if method in GIVEN:
        masks = {f"{at}.weight": _sines(shape, 17 + at) > 0.3 for at, shape in ((0, (8, 6)), (2, (8, 8)))}
        run.given = dict.fromkeys(GIVEN[method], Given(run.model.state_dict(), masks, 0.0))
    correct, pruned = [], []
    for now in METHODS[method](run, **OPTIONS[method]):
        correct.append(round(48 * now.metrics["train_accuracy"]))
        pruned += [now.step] * (run.round - len(pruned))
    rows = {name: ["".join(map(str, row)) for row in keep.int().tolist()] for name, keep in run.masks.items()}
    rows |= {name: ["".join(map(str, keep.int().tolist()))] for cut in run.cuts for name, keep in cut.keep.items()}
    return Trajectory(correct, pruned, {name: " ".join(words) for name, words in rows.items()})


if __name__ == "__main__":
    for name in METHODS:
        print(f'"{name}": {life(name)}')
