"""LASSO channels: what layers are solved for and from what they read, how many channels stay, what has to be there."""

import sys
from functools import partial

import pytest
import torch
from squares import D, images, plain
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD

from sapwood.errors import InputError
from sapwood.extras import MissingExtra
from sapwood.methods.lasso_channels import lasso_channels
from sapwood.methods.parts.ranking import drawn
from sapwood.models.resnet_cifar import resnet_cifar
from sapwood.models.trained_digits import trained_digits
from sapwood.reconstruction import lasso_channels as solved
from sapwood.reconstruction import output_error, refit, thinet
from sapwood.reconstruction.units import columns_of
from sapwood.scoring.layout import matrix
from sapwood.scoring.observation import observe
from sapwood.scoring.statistics import gram
from sapwood.shrinking.cutting.units import unit_of_columns
from sapwood.shrinking.finding import sites
from sapwood.training.loop import train
from sapwood.training.run import start
from sapwood.training.task import Data, Task

DATA = Data(images(96, 0), images(48, 1), images(48, 2))
NOW = {"epochs": 0, "tune": 0}


def task(model=plain):
    return Task("images", model, DATA, partial(SGD, lr=0.05, momentum=0.9), batch_size=32, classes=4)


def least_squares(x_NI, y_NO):
    """Weights [O, I] and bias [O], from the samples themselves."""
    with_ones = torch.cat([x_NI, torch.ones(len(x_NI), 1, dtype=D)], 1)
    best = torch.linalg.lstsq(with_ones, y_NO).solution.T
    return best[:, :-1], best[:, -1]


def own_outputs(model, batches, *needs, only, wanted):
    """What the pruned network itself gives, in place of what the original gives."""
    return observe(model, batches, *needs, only=only, wanted=model)


def test_layers_get_least_squares_from_what_the_pruned_ones_give_to_what_they_gave_in_the_original(monkeypatch):
    """By other means: inputs and outputs of both networks, no sums; weights and biases to 1e-8."""
    whole, run, other = start(task()), start(task()), start(task())
    list(train(whole, epochs=2))
    list(lasso_channels(run, epochs=2, tune=0))
    monkeypatch.setattr("sapwood.methods.parts.reconstructing.observe", own_outputs)
    list(lasso_channels(other, epochs=2, tune=0))
    old, new, own = (each.model.eval().requires_grad_(False) for each in (whole, run, other))
    x = torch.cat([batch.inputs for batch in drawn(run, 1000, "lasso_channels")])
    stay = [c for c in range(8) if any(torch.equal(old[0].weight[c], row) for row in new[0].weight)]
    assert torch.equal(new[0].weight, old[0].weight[stay])  # nothing in front of it has gone
    columns = F.unfold(old[:3](x)[:, stay], 3, padding=1).transpose(1, 2).flatten(0, 1)
    w, b = least_squares(columns, old[:4](x).movedim(1, 3).flatten(0, 2))
    here = [min(range(12), key=lambda o: float((w[o] - row).abs().max())) for row in new[3].weight.flatten(1)]
    assert [len(stay), len(set(here))] == [4, 6]
    assert torch.allclose(new[3].weight.flatten(1), w[here], rtol=0, atol=1e-8)
    assert torch.allclose(new[3].bias, b[here], rtol=0, atol=1e-8)
    w, b = least_squares(new[:7](x), old(x))
    assert torch.allclose(new[7].weight, w, rtol=0, atol=1e-8)
    assert torch.allclose(new[7].bias, b, rtol=0, atol=1e-8)
    assert (new(x) - old(x)).norm() < (own(x) - old(x)).norm()  # each layer would make up for its own channels only


@pytest.mark.parametrize(
    ("options", "widths"),
    [({"ratios": "0=0.5 3=0.75"}, [4, 3]), ({"pruned": 0.3, "multiple": 4, "lasso": False}, [4, 8])],
)
def test_widths_are_those_of_l1_filters(options, widths):
    run = start(task())
    list(lasso_channels(run, **options, **NOW))
    assert [len(run.model[0].weight), len(run.model[3].weight)] == widths


def test_in_residual_networks_the_inner_channels_go_until_the_multiply_adds_are_met():
    run = start(task(partial(resnet_cifar, 8, width=4, classes=4, dtype=D)))
    list(lasso_channels(run, macs=0.7, multiple=2, samples=32, **NOW))
    assert run.size().macs <= 0.7 * run.reference.macs
    blocks = [run.model.layer1[0], run.model.layer2[0], run.model.layer3[0]]
    assert [len(block.conv1.weight) % 2 for block in blocks] == [0, 0, 0]
    assert [len(block.conv2.weight) for block in blocks] == [4, 8, 16]


def test_what_loses_nothing_is_left_alone():
    run, dense = start(task()), start(task())
    list(lasso_channels(run, pruned=0.0, epochs=1, tune=0))
    list(train(dense, epochs=1))
    assert all(torch.equal(p, q) for p, q in zip(run.model.parameters(), dense.model.parameters(), strict=True))


@pytest.fixture(scope="module")
def layers():
    """Of each layer of a trained network that reads channels: weights, sums fitted and held out, L1 norms of units."""
    model, data = trained_digits()
    found = []
    for site in sites(model, data.train.take(slice(0, 2)).inputs):
        slot = next(site.at("reads"))
        layer, made = model.get_submodule(slot.tensor.rpartition(".")[0]), model.get_submodule(site.name)
        some = [data.train.take(slice(0, 200)), data.valid.take(slice(0, 100))]
        name = slot.tensor.rpartition(".")[0]
        sums = [observe(model, [each], gram, only=[name])[name][gram] for each in some]
        w_OI = matrix(layer, layer.weight).detach().double()
        found.append((w_OI, unit_of_columns(model, slot), *sums, made.weight.detach().abs().flatten(1).sum(1)))
    return found


def test_least_squares_halve_what_is_lost_and_lasso_and_thinet_choose_better_than_l1_for_most_layers(layers):
    """On a trained network, half of each layer's inputs, samples that nothing was fitted on."""
    better = {"lasso": 0, "thinet": 0}
    for w, unit, fitted, held, l1 in layers:
        keep = torch.zeros(len(l1), dtype=torch.bool)
        keep[l1.argsort(descending=True)[: len(l1) // 2]] = True
        error = partial(output_error, original_OI=w, gram_II=held)
        chosen = {
            "lasso": solved(w, fitted, sparsity=0.5, unit_of_I=unit)[1],
            "thinet": thinet(w, fitted, sparsity=0.5, unit_of_I=unit)[1],
        }
        alone, by_l1 = error(w * columns_of(keep, unit)), error(refit(w, fitted, keep=columns_of(keep, unit))[0])
        for name, stay in chosen.items():
            mine = error(refit(w, fitted, keep=columns_of(stay, unit))[0])
            assert int(stay.sum()) == len(l1) // 2
            assert mine < alone / 2
            better[name] += mine < by_l1
    assert min(better.values()) > len(layers) / 2


def test_without_scikit_learn_one_error_before_anything_is_trained(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    run = start(task())
    with pytest.raises(MissingExtra, match=r'^lasso_channels needs sklearn.*; run: pip install "sapwood\[study\]"$'):
        next(lasso_channels(run))
    assert run.step == 0
    list(lasso_channels(run, lasso=False, **NOW))
    assert len(run.model[0].weight) == 4


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"samples": 0}, "samples=0"),
        ({"rate": -1.0}, "rate=-1.0"),
        ({"pruned": 1.0}, "pruned=1.0"),
        ({"macs": 0.5, "ratios": "0=0.5"}, "ratios or macs, not both"),
        ({"by": "lasso"}, "unknown unit criterion 'lasso'"),
        ({"allocation": "none"}, "unknown allocation 'none'"),
        ({"ratios": "1=0.5"}, "ratio '1=0.5' is of no site"),
    ],
)
def test_bad_options_are_refused_before_anything_is_trained(options, says):
    run = start(task())
    with pytest.raises(InputError, match=says):
        next(lasso_channels(run, **options))
    assert run.step == 0


def test_a_network_without_such_channels_is_refused():
    run = start(task(lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 4)).double()))
    with pytest.raises(InputError, match="Sequential has no units that one layer makes and one reads"):
        next(lasso_channels(run))
