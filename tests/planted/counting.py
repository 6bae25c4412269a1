"""Laws of the sets that neurons are counted on before a cycle, and bugs planted in them."""

from dataclasses import replace
from functools import partial
from importlib import import_module
from unittest.mock import patch

import torch
from planted.mutant import bugs, instead

from sapwood import criteria
from sapwood.checks import Laws
from sapwood.checks.law import demand
from sapwood.checks.tiny import tiny_task
from sapwood.methods import METHODS
from sapwood.scoring.observation import observe
from sapwood.training.draws import luck
from sapwood.training.run import start
from sapwood.training.task import Batch, Data

cycles = import_module("sapwood.methods.parts.cycles")
counted = cycles.counted
EASY = {"first": 0.01, "target": 0.02, "stop": "epochs", "epochs": 3, "cycles": 2, "sparsity": 0.5}


def laws() -> Laws:
    """Of two cycles on the tiny network, each of which counts a set of its own."""
    return {
        "counting: a set has no sample twice, and so many are all": _once,
        "counting: a set is drawn anew for each cycle, and counts of before are forgotten": _anew,
        "counting: held out is what does not train": _held_out,
        "counting: no label is read": _unlabelled,
    }


def sets(source: str, samples: int, task=None):
    """The samples that each cycle's neurons were counted on, as [samples, inputs], and the run that is over."""
    run, seen = start(task or tiny_task()), []

    def noting(model, batches, *needs, only):
        every = list(batches)
        seen.append(torch.cat([batch.inputs for batch in every]))
        return observe(model, every, *needs, only=only)

    with patch.object(cycles, "observe", noting), patch.object(cycles, "AT_ONCE", 7):
        list(METHODS["global_activation"](run, source=source, probe=samples, **EASY))
    return seen, run


def rows(samples) -> set[tuple[float, ...]]:
    return {tuple(row) for row in samples.tolist()}


def _once() -> None:
    train = tiny_task().data.train.inputs
    for size in (20, len(train)):
        seen, _ = sets("fresh", size)
        demand([len(rows(each)) for each in seen] == [size] * 2, f"{len(rows(seen[0]))} of {size} samples are distinct")
    demand(rows(seen[0]) == rows(train), "as many samples as there are, are not all of them")


def _anew() -> None:
    (first, second), _ = sets("fresh", 20)
    demand(rows(first) != rows(second), "both cycles counted on the same set")
    run = start(tiny_task())
    before = {"0": {"active": torch.full((8,), 99)}}
    found = cycles.counted(run, criteria.named("activity"), ["0"], before, source="fresh", samples=20)
    most = int(found["0"]["active"].max())
    demand(most <= 20, f"of 20 samples a neuron was active on {most}")


def _held_out() -> None:
    (first, _), _ = sets("held out", 12)
    task = tiny_task().data
    demand(rows(first) <= rows(task.valid.inputs), "it is not validation data")
    demand(not rows(first) & rows(task.train.inputs), "it was trained with")


def _unlabelled() -> None:
    """With other labels of what does not train, the same weights go."""
    task = tiny_task()
    valid = task.data.valid
    other = replace(task, data=Data(task.data.train, Batch(valid.inputs, valid.targets.flip(0)), task.data.test))
    (_, one), (_, two) = sets("held out", 12, task), sets("held out", 12, other)
    demand(all(torch.equal(keep, two.masks[name]) for name, keep in one.masks.items()), "labels changed what goes")
    demand(one.round == 2, f"{one.round} cycles were made")


def counting(drawn, run, criterion, layers, seen, *, source, samples):
    """Like the real one, on other samples."""
    split = getattr(run.task.data, cycles.SETS[source])
    return cycles.observe(run.model, [split.take(drawn(run, split, samples))], *criterion.needs, only=layers)


def added(run, criterion, layers, seen, **which):
    cycles.gather(seen, counted(run, criterion, layers, seen, **which))
    return seen


def instead_drawn(drawn):
    return instead(cycles, "counted", partial(counting, drawn))


MUTANTS = bugs("counting", laws, {
    "a set has no sample twice, and so many are all": {
        "a set may have a sample twice": instead_drawn(
            lambda run, split, samples: torch.randint(
                len(split), (samples,), generator=luck(run.seed, "set", run.step))
        ),
    },
    "a set is drawn anew for each cycle, and counts of before are forgotten": {
        "all cycles count the same set": instead_drawn(
            lambda run, split, samples: torch.randperm(len(split), generator=luck(run.seed, "set"))[:samples]
        ),
        "a set's counts are added to those of before": instead(cycles, "counted", added),
    },
    "held out is what does not train": {
        "a set that is held out is of training data": partial(patch.dict, cycles.SETS, {"held out": "train"}),
    },
    "no label is read": {
        "a set is of the samples with the lowest labels": instead_drawn(
            lambda run, split, samples: split.targets.argsort(stable=True)[:samples]
        ),
    },
})  # fmt: skip
