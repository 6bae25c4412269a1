"""Final measures: every split is asked once, and says what asking twice said."""

from dataclasses import replace

import pytest
import torch

from sapwood.errors import InputError
from sapwood.measure import accuracy
from sapwood.tasks import TASKS
from sapwood.training.loop import measured
from sapwood.training.run import start
from sapwood.trials.final import final_measures


def test_every_sample_is_asked_once():
    run = start(TASKS["mlp_digits"](), seed=3)
    asked = []
    run.model.register_forward_pre_hook(lambda module, inputs: asked.append(len(inputs[0])))
    found = {(each.split, each.metric): each.value for each in final_measures(run)}
    data = run.task.data
    every = sum(len(getattr(data, split)) for split in ("train", "valid", "test"))
    assert every <= sum(asked) < every + 20  # and a few of one sample, by which shapes are found
    for split in ("train", "valid", "test"):
        samples = getattr(data, split)
        twice = measured(run.model, run.task, samples) | accuracy(run.model, samples, k=(5,), class0=True)
        assert {metric: found[split, metric] for metric in twice} == twice
    assert torch.is_grad_enabled()


def test_only_the_splits_that_a_task_names_are_measured():
    task = replace(TASKS["mlp_digits"](), ends=("valid", "test"), at_once=50)
    found = {(each.split, each.metric): each.value for each in final_measures(start(task, seed=3))}
    every = {(each.split, each.metric): each.value for each in final_measures(start(TASKS["mlp_digits"](), seed=3))}
    assert every.keys() - found.keys() == {key for key in every if key[0] == "train"}
    assert found == pytest.approx({key: value for key, value in every.items() if key in found})
    with pytest.raises(InputError, match="'tests'"):
        replace(task, ends=("tests",))
