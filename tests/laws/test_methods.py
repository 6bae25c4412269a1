"""Every method under the laws of methods, interrupted before every step; and two that the package does not have."""

import os
from dataclasses import replace
from functools import partial

import pytest
from outsiders import drawn_alike, dynamic_surgery, forgetful, rethinking, ticket
from residual import residual_task
from torch.optim import SGD, Adam, AdamW

from sapwood import checkpoint
from sapwood.checks import interruption, method, tiny_task
from sapwood.checks.method import _Trial
from sapwood.checks.tiny import tiny_conv_task
from sapwood.methods import METHODS
from sapwood.training.declared import declared

BY_NIGHT = pytest.mark.skipif("SAPWOOD_NETWORKS" not in os.environ, reason="takes long; shorter lives are tried by day")
EASY = {"first": 0.01, "target": 0.02, "stop": "epochs"}  # the end of every epoch is above its mark
STUCK = {"first": 0.99, "target": 1.0, "plateau": 1, "task": tiny_task(SGD, lr=1e-4)}  # no mark is ever reached
DRAWN = drawn_alike(tiny_conv_task())  # which has a rule for first weights
HALF_OF_ALL = (27 + 22 + 17) / 112  # 136 weights, 112 of them hidden: what three cycles to 0.5 of all remove
QUICK = replace(tiny_task(), batch_size=24)  # two steps an epoch
PIXELS = {
    "low": -9.0,
    "high": 9.0,
    "eps": 0.3,
    "steps": 1,
    "step": 0.2,
    "judged": 16,
    "judge_steps": 2,
}  # of tiny images
OPTIONS = {  # method -> label -> options that make every part of it happen within a few steps
    "adversarial_neural_pruning": {
        "everything on": PIXELS
        | {"suppression": 0.1, "threshold": 0.24, "beta": 0.05, "mask_rate": 0.1, "epochs": 1, "restarts": 2},
        "without attacks, so many units, tuned": PIXELS
        | {"attack": False, "suppression": 0.0, "pruned": 0.4, "start": 2.0, "epochs": 1, "tune": 1, "task": QUICK},
    },
    "at_init": {
        "snip": {"sparsity": 0.5, "samples": 20, "epochs": 2, "reaches": 0.5},
        "grasp": {"sparsity": 0.4, "samples": 20, "epochs": 2, "criterion": "grasp", "reaches": 0.4},
        "synflow, in rounds": {"sparsity": 0.8, "samples": 1, "epochs": 2, "criterion": "synflow", "rounds": 20}
        | {"reaches": 0.8},
        "random, at other places": {"sparsity": 0.6, "samples": 1, "epochs": 2, "criterion": "random_", "scope": "erk"}
        | {"control": "shuffled", "output": False, "reaches": 0.6},
        "magnitude, other weights": {"sparsity": 0.5, "samples": 1, "epochs": 2, "criterion": "magnitude"}
        | {"scope": "per_layer", "control": "reinitialised"},
    },
    "deep_compression": {
        "pruned here": {"sparsity": 0.6, "rounds": 2, "first_epochs": 1, "round_epochs": 1, "bits": "3 2 2"}
        | {"share_epochs": 2, "share_rate": 0.2, "reaches": 0.6},
        "by deviations, everything at once": {"quality": "0.8", "rounds": 1, "first_epochs": 1, "round_epochs": 1}
        | {"bits": "1", "share_epochs": 1, "share_rate": 0.1, "rate": 1.0},
    },
    "dense": {
        "to the end": {"epochs": 4, "stop": "epochs"},
        "until a rule stops it": {"epochs": 5, "stop": "patience", "target": 1.0},
        "until good enough": {"epochs": 5, "stop": "none", "target": 0.5},
    },
    "flop": {
        "gates": {"sparsity": 0.5, "rate": 0.3, "epochs": 1, "gate_epochs": 2, "tune": 1, "task": tiny_task()},
        "singular values": {"sparsity": 0.6, "by": "svd", "rank": 5, "epochs": 1, "gate_epochs": 1}
        | {"task": tiny_task()},
    },
    "global_activation": {
        "neurons": EASY | {"epochs": 5, "cycles": 3, "sparsity": 0.5, "reaches": HALF_OF_ALL},
        "neurons and weights, retraining": EASY
        | {"epochs": 4, "cycles": 3, "sparsity": 0.5, "reaches": HALF_OF_ALL, "retrain": 1}
        | {"criterion": "active_magnitude"},
        "probe, anew after each cycle": EASY
        | {"epochs": 3, "cycles": 2, "sparsity": 0.5, "source": "probe", "probe": 20, "reset": "after_cycle"}
        | {"base_of": "prunable", "reaches": 0.5},
        "stream, anew after each cycle": EASY
        | {"epochs": 4, "cycles": 2, "sparsity": 0.4, "reset": "after_cycle", "criterion": "mean_activation"},
        "a set before each cycle": EASY
        | {"epochs": 3, "cycles": 2, "sparsity": 0.5, "source": "fresh", "probe": 20}
        | {"base_of": "prunable", "reaches": 0.5},
        "random neurons, whole": EASY
        | {"epochs": 3, "cycles": 2, "sparsity": 0.5, "criterion": "random_", "per_neuron": True}
        | {"granularity": "neuron", "shares": "uniform"},
        "when the accuracy has stopped rising": STUCK | {"epochs": 5, "cycles": 2, "sparsity": 0.5, "stop": "spikes"},
        "after so many epochs": STUCK
        | {"plateau": 0, "wait": 2, "epochs": 5, "cycles": 2, "sparsity": 0.5}
        | {"stop": "epochs", "base_of": "prunable", "reaches": 0.5},
    },
    "dynamic_surgery": {
        "by deviations, biases too": {"c": "0.2 0.3 -0.5", "dense_epochs": 1, "surgery": 2, "epochs": 3, "gamma": 0.3}
        | {"biases": True, "nested": False},
        "by a share, hidden layers": {"sparsity": 0.5, "dense_epochs": 0, "surgery": 3, "epochs": 3, "output": False}
        | {"nested": False, "reaches": 0.5},
        "by a share of all": {"sparsity": 0.5, "scope": "everywhere", "dense_epochs": 1, "surgery": 1, "epochs": 2}
        | {"nested": False, "reaches": 0.5},
    },
    "iterative_magnitude": {
        "shares of each layer, smaller dropout": {"sparsity": 0.8, "rounds": 3, "first_epochs": 1, "round_epochs": 1}
        | {"reaches": 0.8},
        "by deviations": {"quality": "0.5 0.8 0.2", "rounds": 2, "first_epochs": 1, "round_epochs": 2, "rate": 0.5},
        "lamp, everywhere in the hidden layers": {"sparsity": 0.6, "rounds": 2, "first_epochs": 1, "round_epochs": 1}
        | {"criterion": "lamp", "scope": "everywhere", "output": False, "reaches": 0.6},
    },
    "l1_filters": {
        "a share of each": {"pruned": 0.4, "epochs": 1, "tune": 1, "rate": 0.5},
        "by a scan, to a share of the multiply-adds": {
            "macs": 0.6,
            "allocation": "sensitivity",
            "epochs": 1,
            "tune": 1,
        },
        "by hand, by what samples change": {"ratios": "0=0.5 4=0.2", "by": "taylor_unit", "samples": 30, "epochs": 1}
        | {"tune": 1},
    },
    "lasso_channels": {
        "half of each": {"epochs": 1, "tune": 1, "rate": 0.5, "samples": 40},
        "in one ranking, to a share of the multiply-adds": {"macs": 0.6, "allocation": "everywhere", "samples": 500}
        | {"by": "geometric_median", "epochs": 1, "tune": 1},
    },
    "local_activation": {
        "neurons": EASY | {"epochs": 4, "sparsity": 0.5, "probe": 30, "reaches": 0.5},
        "neurons and weights, retraining": EASY
        | {"epochs": 3, "sparsity": 0.75, "criterion": "active_magnitude", "retrain": 2, "reaches": 0.75},
        "neurons, after so many epochs": STUCK
        | {"plateau": 0, "wait": 2, "epochs": 5, "stop": "epochs", "sparsity": 0.5, "probe": 30, "reaches": 0.5},
        "column norm, when the accuracy has stopped rising": STUCK
        | {"epochs": 4, "criterion": "magnitude", "per_neuron": True, "sparsity": 0.5, "stop": "consecutive"},
    },
    "lottery_ticket": {
        "to the initial weights": {"rounds": 3, "round_epochs": 1},
        "rewound, other weights in the end": {"rounds": 2, "round_epochs": 2, "rewind": 0.5, "each": 0.5}
        | {"control": "reinitialised"},
        "other places in the end": {"rounds": 2, "round_epochs": 1, "control": "shuffled", "nested": False},
    },
    "gradual_magnitude": {
        "by lamp, everywhere": {"epochs": 3, "begin": 0, "end": 2, "every": 3, "sparsity": 0.7, "reaches": 0.7}
        | {"criterion": "lamp", "scope": "everywhere"},
        "by shape": {"epochs": 2, "begin": 0, "end": 1, "every": 3, "sparsity": 0.5, "scope": "erk", "reaches": 0.5}
        | {"output": True},
        "each layer": {"epochs": 4, "begin": 1, "end": 3, "every": 3, "sparsity": 0.8, "reaches": 0.8},
        "everywhere, after a dense phase, retraining": {"epochs": 3, "begin": 0.5, "end": 2, "every": 4}
        | {"sparsity": 0.6, "scope": "everywhere", "dense_epochs": 2, "retrain": 1, "reaches": 0.6},
        "as in the paper's row M": {"epochs": 3, "begin": 0, "end": 2, "every": 5, "land": False, "initial": 0.2}
        | {"dense_epochs": 3, "target": 0.4, "power": 1.0},
    },
    "low_rank": {
        "centred, trained on": {"ranks": "2 3", "epochs": 3, "stop": "epochs", "task": tiny_task()},
        "uncentred, one layer left alone": {"ranks": "6 1", "centred": False, "epochs": 3, "stop": "patience"}
        | {"task": tiny_task()},
    },
    "network_slimming": {
        "to a share of the multiply-adds": {"macs": 0.6, "strength": 1e-2, "epochs": 1, "tune": 1, "rate": 0.5},
        "to a share of the channels, from their own scales": {"channels": 0.4, "initial": 0.0, "epochs": 1, "tune": 1},
    },
    "one_call": {
        "by the sums of weights": {"macs": 0.6, "multiple": 1, "epochs": 1, "tune": 1, "rate": 0.5},
        "the same share of each, by what samples change": {"macs": 0.6, "multiple": 1, "uniform": True, "epochs": 1}
        | {"by": "taylor_unit", "samples": 30, "tune": 1},
    },
    "one_pass": {
        "wanda, tuned": {"sparsity": 0.5, "samples": 20, "epochs": 1, "tune": 1, "rate": 0.5, "reaches": 0.5},
        "sparsegpt, refitted, trained": {"sparsity": 0.25, "by": "sparsegpt", "refit": True, "samples": 30}
        | {"epochs": 1, "tune": 1, "rate": 0.1},
    },
    "one_pass_units": {
        "the surgeon, tuned": {
            "by": "surgeon",
            "sparsity": 0.4,
            "multiple": 1,
            "samples": 20,
            "epochs": 1,
            "tune": 1,
            "rate": 0.5,
        },
        "by size, one ranking, refitted": {"sparsity": 0.3, "by": "magnitude", "uniform": False, "multiple": 1}
        | {"samples": 30, "epochs": 1, "tune": 1, "rate": 0.1},
    },
    "pruning_from_scratch": {
        "gates behind layers": {"macs": 0.6, "level": 0.5, "rate": 0.2, "gate_epochs": 1, "epochs": 1},
        "as costly as the whole, open at most to a level": {"macs": 0.5, "level": 0.9, "rate": 0.3, "gate_epochs": 2}
        | {"epochs": 1, "equal_cost": True},
        "by the shadow, a floor under each": {"macs": 0.6, "level": 0.0, "weight": 50.0, "rate": 0.4, "gate_epochs": 2}
        | {"epochs": 1, "ties": "shadow", "floor": 0.2, "shuffled": "across"},
        "held to a budget by multipliers": {"macs": 0.6, "pull": "macs", "rate": 0.2, "gate_epochs": 1, "epochs": 1},
    },
    "rethink": {
        "uniform widths, for the cost of the whole": {"widths": "uniform", "macs": 0.6, "epochs": 1, "task": DRAWN},
        "random widths, tuned from random weights": {"protocol": "reinitialised", "widths": "random", "macs": 0.5}
        | {"tune": 1, "rate": 0.5, "task": DRAWN},
    },
    "self_adaptive": {
        "a warm-up, then noise, then none": {"budget": 0.6, "warm": 0.3, "epochs": 2, "start": 0.5, "rate": 0.1}
        | {"judged": 10},
        "from the first step to the last, half of each layer open": {"budget": 0.7, "warm": 0.0, "reached": 1.0}
        | {"least": 0.5, "start": 0.0, "epochs": 1},
    },
    "soft_filter": {
        "a share of each, after every epoch": {"pruned": 0.5, "epochs": 3},
        "by the geometric median, now and then, to a share, tuned": {"macs": 0.6, "by": "geometric_median", "every": 2}
        | {"epochs": 3, "tune": 1, "rate": 0.5},
    },
    "sparse_low_rank": {
        "by weights": {"sparsity": 0.5, "epochs": 1, "tune": 1, "reaches": 23 / 76, "task": QUICK},
        "by activations, a few of each, from two components": {"sparsity": 0.3, "by": "activations", "samples": 30}
        | {"reduced": 0.3, "lower": 0.6, "rank": 2, "epochs": 1, "tune": 1, "task": QUICK},
    },
    "sparse_structure_selection": {
        "blocks, tuned": {"strength": 0.35, "epochs": 1, "settle": 0.0, "tune": 1, "rate": 0.5}
        | {"task": residual_task(3, batch_size=24, lr=0.5)},
        "channels, to a share of the multiply-adds": {"kind": "channels", "strength": 0.45, "epochs": 1, "macs": 0.8}
        | {"task": residual_task(1, batch_size=24, lr=0.5)},
    },
    "sparse_training": {
        "by gradient": {"sparsity": 0.7, "every": 2, "epochs": 3, "nested": False, "reaches": 0.7},
        "at random": {"sparsity": 0.6, "grow": "random", "allocation": "uniform", "every": 3, "epochs": 3, "first": 0.5}
        | {"until": 1.0, "output": False, "nested": False, "reaches": 0.6},
        "static": {"sparsity": 0.8, "grow": "none", "allocation": "er", "epochs": 2, "reaches": 0.8},
    },
    "svd_training": {
        "to a budget": {"sparsity": 0.5, "epochs": 1, "sparse_epochs": 1, "tune": 1, "task": QUICK},
        "by energy, from five components": {"energy": 0.2, "measure": "l1", "strength": 0.1, "rank": 5}
        | {"epochs": 0, "sparse_epochs": 2, "tune": 1, "task": QUICK},
    },
    "thinet": {
        "half of each, trained on between": {"epochs": 1, "between": 1, "recover": 1, "samples": 40},
        "removing, one layer spared, to a share": {
            "macs": 0.8,
            "spared": 1,
            "rule": "remove",
            "epochs": 1,
            "between": 0,
        }
        | {"recover": 2, "samples": 500},
    },
    "transformable_architecture_search": {
        "widths, taught by the whole network": {"rate": 0.5, "teach_epochs": 1, "search_epochs": 1, "epochs": 1},
        "widths and depths": {"rate": 0.5, "price": 20.0, "teach_epochs": 0, "search_epochs": 2, "epochs": 1}
        | {"task": residual_task(3, batch_size=24)},
    },
    "unstructured_magnitude": {
        "hidden layers": {"sparsity": 0.6, "epochs": 1, "tune": 1, "reaches": 0.6},
        "all layers": {"sparsity": 0.8, "dense": True, "epochs": 1, "tune": 1, "rate": 0.5, "reaches": 0.8},
    },
    "variational_dropout": {
        "by the threshold, tuned": {"log_sigma2": -2.0, "begin": 0.5, "end": 1.5, "lr": 0.05, "epochs": 3, "tune": 1},
        "so many of the hidden weights, not clipped": {"sparsity": 0.6, "begin": 0, "end": 0, "log_sigma2": -4.0}
        | {"output": False, "clipped": False, "decay": 0.0, "epochs": 2, "tune": 1, "reaches": 0.6},
    },
    "nuclear": {
        "each alike, in a few steps": {"strength": 0.3, "every": 4, "epochs": 3},
        "weighted, after every step": {"strength": 0.2, "weighted": True, "every": 1, "epochs": 3, "stop": "spikes"},
    },
}
NO_MASKS = (
    "adversarial_neural_pruning,",
    "dense,",
    "flop,",
    "l1_filters,",
    "lasso_channels,",
    "low_rank,",
    "network_slimming,",
    "nuclear,",
    "one_call,",
    "one_pass_units,",
    "pruning_from_scratch,",
    "rethink,",
    "self_adaptive,",
    "soft_filter,",
    "sparse_structure_selection,",
    "svd_training,",
    "thinet,",
    "transformable_architecture_search,",
)  # do other things


def cases():
    """(label, method, options) of everything that is tried."""
    for name, of in METHODS.items():
        for label, options in OPTIONS.get(name, {}).items():
            yield f"{name}, {label}", of, options
    for optimizer in (Adam, partial(AdamW, amsgrad=True)):
        task = tiny_task(optimizer)
        name = getattr(optimizer, "__name__", "AdamW")
        yield f"global_activation under {name}", METHODS["global_activation"], {"task": task, "epochs": 3} | EASY
    yield "rethink of masks", rethinking, {"task": tiny_task(), "reaches": 0.5}
    yield "dynamic surgery", dynamic_surgery, {"nested": False, "reaches": 0.6}
    yield "ticket", ticket, {"nested": False, "reaches": 0.5}


LAWS = {law: body for label, of, options in cases() for law, body in method.laws(label, of, **options).items()}


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_method(law):
    law()


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_tiny_options(name):
    assert len(OPTIONS.get(name, {})) >= 2, f"add at least two sets of tiny options for {name!r} to OPTIONS"


def test_no_options_are_left_of_a_method_that_has_gone():
    assert set(OPTIONS) == set(METHODS)


@pytest.mark.parametrize(("label", "of", "options"), [case for case in cases() if not case[0].startswith(NO_MASKS)],
                         ids=lambda value: value if isinstance(value, str) else "")  # fmt: skip
def test_the_tiny_options_make_it_prune(label, of, options):
    options = {k: v for k, v in options.items() if k not in ("nested", "reaches")}
    life = _Trial(of, options.pop("task", tiny_task()), options)
    removed = [now.step for now in life.moments if any(not keep.all() for keep in life.run.masks.values())]
    assert life.run.round >= 1
    assert removed


@BY_NIGHT
@pytest.mark.parametrize(
    ("label", "of", "options"), [*cases()], ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_state_is_gone_on_from_to_the_end(label, of, options):
    options = {k: v for k, v in options.items() if k not in ("nested", "reaches")}
    usual = tiny_conv_task if "rebuilds" in declared(of).kinds else tiny_task
    interruption.gone_on_from(partial(_Trial, of, options.pop("task", None) or usual(), options), every=True)


def test_the_law_saves_after_every_step():
    life = _Trial(METHODS["gradual_magnitude"], tiny_task(), {"epochs": 2, "begin": 0, "end": 1, "retrain": 1})
    moments = list(life.moments)
    assert [checkpoint.decode(saved)["step"] for saved in life.saves] == [now.step for now in moments]
    assert len(moments) == 18


@pytest.mark.parametrize("of", [partial(ticket, remember=False), forgetful], ids=["not remembered", "own variable"])
def test_a_method_that_keeps_something_to_itself_is_caught(of):
    """After a restart, early weights computed anew are an untrained network's, and the largest loss is another."""
    bodies = method.laws("m", of, nested=False)
    bodies["method m: the same seed gives the same bits"]()
    with pytest.raises(AssertionError, match=r"interrupted after step \d+ of \d+: another end"):
        bodies["method m: interrupted before any step and resumed: the same bits"]()
