"""What a paper's method must be seen to do, on networks so small that it takes seconds; each test says of which check.

The trained digits need no training here. Laws and the methods' own tests have what is equal or exact.
"""

from dataclasses import replace
from functools import cache, partial
from importlib import import_module
from itertools import combinations
from statistics import mean

import pytest
import torch
from residual import Residual, residual_task
from squares import images
from torch import nn
from torch.optim import SGD

from sapwood.checks.tiny import tiny_samples
from sapwood.methods import METHODS
from sapwood.methods.parts.controls import shuffled
from sapwood.methods.parts.structures import structures
from sapwood.models.trained_digits import trained_digits
from sapwood.reconstruction import lasso_channels, output_error, refit, thinet
from sapwood.reconstruction.units import columns_of
from sapwood.scoring.layout import matrix
from sapwood.scoring.observation import observe
from sapwood.scoring.statistics import gram
from sapwood.shrinking.cutting.units import unit_of_columns
from sapwood.shrinking.depth import remove_branches
from sapwood.shrinking.finding import sites
from sapwood.shrinking.tracing.anatomy import Anatomy
from sapwood.training.loop import evaluate, train
from sapwood.training.run import start
from sapwood.training.task import Data, Task

selection = import_module("sapwood.methods.sparse_structure_selection")
SQUARES = Data(images(96, 0), images(200, 1), images(48, 2))


def normed():
    """Two convolutions of 16 and 24 channels, each with a norm."""
    layers = [nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()]
    layers += [nn.Conv2d(16, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU()]
    return nn.Sequential(*layers, nn.MaxPool2d(4), nn.Flatten(), nn.Linear(96, 4)).double()


def squares(lr=0.1):
    return Task("images", normed, SQUARES, partial(SGD, lr=lr, momentum=0.9), batch_size=32, classes=4)


@cache
def half_of_the_digits(method, **options):
    """The accuracy on validation images with half of each layer gone and nothing trained."""
    optimizer = partial(SGD, lr=0.01)
    task = Task("digits", lambda: trained_digits()[0], trained_digits()[1], optimizer, batch_size=128, classes=10)
    run = start(task)
    list(METHODS[method](run, epochs=0, **options))
    return evaluate(run)["accuracy"]


def test_thinet_5_half_of_each_layer_is_missed_less_than_a_random_half():
    """By more than 10 points, before anything is trained."""
    mine = half_of_the_digits("thinet", between=0, recover=0, samples=200)
    assert mine > half_of_the_digits("l1_filters", by="random_neuron", tune=0) + 0.1


def test_lasso_3_least_squares_save_more_than_a_choice_alone():
    """By more than 20 points against a random half as it is; and more than the largest filters as they are."""
    mine = half_of_the_digits("lasso_channels", tune=0, samples=200)
    assert mine > half_of_the_digits("l1_filters", by="random_neuron", tune=0) + 0.2
    assert mine > half_of_the_digits("l1_filters", tune=0)


@pytest.fixture(scope="module")
def layers():
    """Of each layer of the trained digits that reads channels: weights, units, sums fitted and sums held out."""
    model, data = trained_digits()
    found = []
    for site in sites(model, data.train.take(slice(0, 2)).inputs):
        slot = next(site.at("reads"))
        name = slot.tensor.rpartition(".")[0]
        layer = model.get_submodule(name)
        some = [data.train.take(slice(0, 200)), data.valid.take(slice(0, 100))]
        sums = [observe(model, [each], gram, only=[name])[name][gram] for each in some]
        found.append((matrix(layer, layer.weight).detach().double(), unit_of_columns(model, slot), *sums))
    return found


def random_halves(units, draws=5):
    luck = torch.Generator().manual_seed(0)
    return [torch.randperm(units, generator=luck) < units // 2 for _ in range(draws)]


def test_thinet_3_and_4_on_samples_it_has_not_seen(layers):
    """Below random halves that are refitted likewise, in every layer; and the scales help, on these samples too."""
    for w, unit, fitted, held in layers:
        error = partial(output_error, original_OI=w, gram_II=held)
        scaled, keep = thinet(w, fitted, sparsity=0.5, unit_of_I=unit)
        assert error(scaled) < error(w * columns_of(keep, unit))
        others = [error(refit(w, fitted, keep=columns_of(each, unit))[0]) for each in random_halves(len(keep))]
        assert error(refit(w, fitted, keep=columns_of(keep, unit))[0]) < mean(map(float, others))


def test_lasso_2_on_samples_it_has_not_seen(layers):
    """Least squares help whatever was chosen; LASSO's choice is better than random ones and than the largest response
    in most layers.
    """
    better = {"random": 0, "largest": 0}
    for w, unit, fitted, held in layers:
        error = partial(output_error, original_OI=w, gram_II=held)
        mine, keep = lasso_channels(w, fitted, sparsity=0.5, unit_of_I=unit)
        response = torch.zeros(len(keep)).double().index_add_(0, unit, fitted.diagonal().double())
        largest = response >= response.sort().values[len(keep) // 2]
        assert int(largest.sum()) == int(keep.sum())
        solved = {}
        for name, some in (("random", random_halves(len(keep))), ("largest", [largest])):
            after = [float(error(refit(w, fitted, keep=columns_of(each, unit))[0])) for each in some]
            before = [float(error(w * columns_of(each, unit))) for each in some]
            assert all(one < other for one, other in zip(after, before, strict=True))
            solved[name] = mean(after)
        assert error(mine) < error(w * columns_of(keep, unit))
        for name, other in solved.items():
            better[name] += float(error(mine)) < other
    assert min(better.values()) > len(layers) / 2


def test_network_slimming_1_and_4_drawn_scales_end_near_zero_and_layers_lose_different_shares():
    """At least three times as many as without; the network is as good."""
    near, widths = {}, {}
    for strength in (0.0, 0.01):
        run = start(squares())
        *_, last = METHODS["network_slimming"](run, channels=0.4, strength=strength, epochs=20, tune=0)
        assert last.metrics["valid_accuracy"] > 0.95
        near[strength] = run.notes["near_zero"]
        widths[strength] = [float(kept.double().mean()) for kept in run.cuts[0].keep.values()]
    assert near[0.01] > max(0.2, 3 * near[0.0])
    one, other = widths[0.01]
    assert abs(one - other) > 0.1


@pytest.mark.slow
def test_sparse_structure_selection_5_blocks_that_training_put_to_zero_are_better_gone_than_blocks_by_luck(monkeypatch):
    """As many, of a network trained as long; these are even tuned for three epochs more. Mean over three seeds."""
    data = Data(tiny_samples(96, seed=3), tiny_samples(256, seed=1), tiny_samples(16, seed=2))
    task = replace(residual_task(4, batch_size=48, lr=0.1), data=data)
    found = structures("blocks", Anatomy(Residual(4), tiny_samples(4).inputs))
    names = list(found.units)
    monkeypatch.setattr(selection, "structures", lambda kind, anatomy: found)  # takes long, and is always the same
    mine, others = [], []
    for seed in range(3):
        run, dense = start(task, seed), start(task, seed)
        list(METHODS["sparse_structure_selection"](run, strength=0.1, macs=0.6, epochs=40))
        mine.append(evaluate(run)["accuracy"])
        list(train(dense, epochs=40))
        count = int(run.notes["zeros"])
        assert 0 < count < len(names)
        for gone in list(combinations(names, count))[::3]:
            short = start(task, seed)
            short.rewind(dense.model.state_dict())
            short.become(remove_branches(short.model, gone, example=task.example, check=False).model)
            list(train(short, epochs=3))
            others.append(evaluate(short)["accuracy"])
    assert mean(mine) >= mean(others)


def test_soft_filter_1_choices_move_at_first_and_hardly_in_the_end():
    """And filters that were zeroed once are in the network that is left."""
    run = start(squares(lr=0.05))
    list(METHODS["soft_filter"](run, pruned=0.5, epochs=12))
    assert run.notes["moved_first"] > 0.1
    assert run.notes["moved_last"] < run.notes["moved_first"] / 2
    assert run.notes["revived"] >= 1


def test_unstructured_magnitude_4_the_same_masks_shuffled_within_layers_are_worse():
    """At 97 %, tuned for as long; the mean over three seeds."""
    reached = {"its masks": [], "shuffled": []}
    for seed in range(3):
        run, dense = start(squares(), seed), start(squares(), seed)
        list(METHODS["unstructured_magnitude"](run, sparsity=0.97, epochs=3, tune=0))
        list(train(dense, epochs=3))
        for name, masks in (("its masks", run.masks), ("shuffled", shuffled(dict(run.masks), seed))):
            again = start(squares(lr=0.01), seed)
            again.rewind(dense.model.state_dict())
            again.prune(masks)
            list(train(again, epochs=1))
            reached[name].append(evaluate(again)["accuracy"])
    assert mean(reached["its masks"]) > mean(reached["shuffled"]) + 0.05
