"""Every method, by night, on a model sharded over two processes: it ends as one process does, or says why not."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from laws.test_methods import OPTIONS
from torch import nn
from torch.distributed.fsdp import fully_shard
from training.ranks import together

from sapwood import checkpoint
from sapwood.checks import tiny_task
from sapwood.checks.tiny import tiny_model
from sapwood.errors import InputError
from sapwood.methods import METHODS
from sapwood.training.run import start

pytestmark = pytest.mark.skipif("SAPWOOD_RANKS" not in os.environ, reason="takes a minute; make nightly runs it")
WORKS = {
    *(
        "at_init",
        "dense",
        "dynamic_surgery",
        "global_activation",
        "gradual_magnitude",
        "iterative_magnitude",
        "nuclear",
    ),
    *("local_activation", "lottery_ticket", "sparse_training", "unstructured_magnitude"),
}
LAWS = ("reaches", "fresh", "given", "kind", "nested")  # what the laws are told beside a method's options
LUCK = ("random neurons, whole",)  # drawn from the weights' bits, which depend on the order of sums
WHOLE = ("grasp", "synflow, in rounds")  # that need the whole model


def cases():
    """Each method under the options of its laws, on a task without dropout."""
    for method in METHODS:
        for label, given in OPTIONS.get(method, {"": {}}).items():
            task = given.get("task") or tiny_task()
            task = replace(task, model=tiny_model) if task.name == "tiny" else task
            options = {name: value for name, value in given.items() if name not in (*LAWS, "task")}
            if label not in LUCK:
                yield f"{method} {label}".replace("/", " "), method, task, options


def sharded(model):
    for layer in [each for each in model.modules() if isinstance(each, nn.Linear | nn.Conv2d) and each is not model]:
        fully_shard(layer)
    return fully_shard(model)


def life(method, task, options):
    run = start(task)
    rows = [dict(now.metrics) for now in METHODS[method](run, **options) if now.ends_epoch]
    state = {name: value for name, value in run.state().items() if name not in ("random", "summed")}
    return state | {"rows": dict(enumerate(rows))}


def lives(folder, alone):
    """What became of each: "as one process", or why not."""
    said = {}
    for name, method, task, options in cases():
        if (alone / name).exists():
            try:
                found = life(method, replace(task, model=lambda make=task.model: sharded(make())), options)
                alike(found, checkpoint.read(alone / name))
                said[name] = "as one process"
            except InputError as error:
                said[name] = str(error)
    return said


def alike(found, wanted, at=()):
    """The same but for rounding."""
    if isinstance(wanted, dict):
        assert found.keys() == wanted.keys(), at
        for key, value in wanted.items():
            alike(found[key], value, (*at, key))
    elif isinstance(wanted, list | tuple):
        assert len(found) == len(wanted), at
        for number, value in enumerate(wanted):
            alike(found[number], value, (*at, number))
    elif isinstance(wanted, torch.Tensor):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12, msg=lambda said: f"{at}: {said}")
    else:
        assert found == (pytest.approx(wanted, abs=1e-12) if isinstance(wanted, float) else wanted), at


def test_every_method_ends_as_one_process_does_or_says_why_not(tmp_path):
    alone, whole = Path(tmp_path, "alone"), []
    alone.mkdir()
    for name, method, task, options in cases():
        try:
            checkpoint.write(alone / name, life(method, task, options))
        except InputError:
            whole.append(name)  # it is not for this task
    said = together(lives, 2, tmp_path, alone)
    assert said[0] == said[1]
    assert len(said[0]) > len(whole)
    for name, words in said[0].items():
        method, _, label = name.partition(" ")
        if method in WORKS and label not in WHOLE:
            assert words == "as one process", name
        else:
            assert words.startswith("the model is sharded over processes (fully_shard); "), (name, words)
