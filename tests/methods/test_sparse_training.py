"""Sparse training: what goes and what comes, worked out by hand, and that no layer's density ever changes."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch.optim import Adam

from sapwood import allocate, schedule
from sapwood.checks import tiny_task
from sapwood.errors import InputError
from sapwood.methods import METHODS
from sapwood.models.mlp import mlp
from sapwood.selection.regrow import regrow
from sapwood.training.run import start

WEIGHT = torch.tensor([0.5, -0.1, 0.3, 0, 0, 0])
ACTIVE = torch.tensor([True, True, True, False, False, False])


def moved(gradient, fraction=0.34):
    return regrow({"w": ACTIVE}, {"w": WEIGHT.abs()}, {"w": torch.tensor(gradient)}, fraction)["w"].int().tolist()


def test_the_smallest_goes_and_the_largest_gradient_comes():
    assert moved([0.2, 0.7, 0.1, 0.4, 0.8, 0.05]) == [1, 0, 1, 0, 1, 0]


def test_what_has_just_gone_may_come_back():
    assert moved([0.2, 0.9, 0.1, 0.4, 0.8, 0.05]) == [1, 1, 1, 0, 0, 0]


def test_a_kept_weight_is_never_chosen_to_come():
    assert moved([9, 0.1, 9, 0.4, 0.2, 0.3]) == [1, 0, 1, 1, 0, 0]


@pytest.mark.parametrize(("fraction", "goes"), [(0.0, 0), (0.33, 0), (0.34, 1), (2 / 3, 2), (1.0, 3)])
def test_so_many_move(fraction, goes):
    found = moved([0, 0, 0, 3, 2, 1], fraction)
    assert sum(found) == 3
    assert sum(found[3:]) == goes


def test_an_empty_layer_and_a_full_one_stay_as_they_are():
    full = torch.ones(4, dtype=torch.bool)
    scores = {"full": torch.rand(4), "none": torch.rand(4)}
    found = regrow({"full": full, "none": ~full}, scores, scores, 0.5)
    assert found["full"].all()
    assert not found["none"].any()


@pytest.mark.parametrize("fraction", [-0.1, 1.1])
def test_a_bad_fraction_is_refused(fraction):
    with pytest.raises(InputError, match="give the share of the active weights"):
        moved([0] * 6, fraction)


def test_missing_scores_are_refused():
    with pytest.raises(InputError, match="unknown layer in scores 'w'"):
        regrow({"w": ACTIVE}, {"w": WEIGHT.abs()}, {}, 0.5)


def test_the_share_falls_as_a_cosine():
    found = [schedule.cosine_share(step, 400, 0.3) for step in (0, 100, 200, 300, 400, 500)]
    assert found == pytest.approx([0.3, 0.256066, 0.15, 0.043934, 0, 0], abs=5e-7)
    assert (found[0], found[4], found[5]) == (0.3, 0, 0)
    assert schedule.cosine_share(0, 0, 0.3) == 0.0
    with pytest.raises(InputError, match="first is 2"):
        schedule.cosine_share(0, 10, 2)
    with pytest.raises(InputError, match="step is -1 and end is 10"):
        schedule.cosine_share(-1, 10, 0.3)


def test_the_random_graph_of_set():
    """epsilon = 20: density 20 (n_in + n_out) / (n_in n_out), found from what it leaves of both layers."""
    shapes = {"one": (1000, 784), "two": (1000, 1000)}
    budget = 20 * (1784 + 2000) / 1_784_000
    found = allocate.er(shapes, budget)
    assert found == {"one": pytest.approx(0.04551, abs=5e-6), "two": pytest.approx(0.04)}


# The method


def watched(task, steps):
    """The task; `steps` gets each training step's weights before it and the gradients that it is made with."""

    def loss(model, batch, outputs):
        value = task.loss(model, batch, outputs)
        if model.training:
            weights = {n: p for n, p in model.named_parameters() if p.dim() > 1}
            gradients = torch.autograd.grad(value, list(weights.values()), retain_graph=True)
            found = zip(weights, gradients, strict=True)
            steps.append(({n: p.detach().clone() for n, p in weights.items()}, dict(found)))
        return value

    return replace(task, loss=loss)


def test_the_first_masks_have_the_densities_asked_for():
    task = replace(tiny_task(), model=partial(mlp, 784, 300, 100, 10))
    run = start(task)
    moments = METHODS["sparse_training"](run, sparsity=0.9)
    with pytest.raises(RuntimeError):  # the tiny data does not fit the network: the masks are all that is wanted
        next(moments)
    shapes = {name: keep.shape for name, keep in run.masks.items()}
    expected = allocate.counts(shapes, allocate.erk(shapes, 1 - 0.9))
    assert {name: int(keep.sum()) for name, keep in run.masks.items()} == expected
    assert sum(expected.values()) == 26_620
    assert expected["output.weight"] == 1_000


@pytest.mark.parametrize("grow", ["gradient", "random"])
def test_how_many_are_kept_never_changes_and_what_comes_is_zero(grow):
    steps = []
    run = start(watched(tiny_task(Adam), steps), 1)
    counts, masks, moves = None, None, 0
    for now in METHODS["sparse_training"](run, sparsity=0.6, every=2, epochs=4, grow=grow):
        found = {name: int(keep.sum()) for name, keep in run.masks.items()}
        assert counts in (None, found)
        if masks is not None:
            for name, keep in run.masks.items():
                came = keep & ~masks[name]
                gone = masks[name] & ~keep
                w = run.model.get_parameter(name)
                moves += int(came.sum())
                assert came.sum() == gone.sum()
                assert not w[came].any()
                for value in (v for v in run.optimizer.state[w].values() if v.shape == w.shape):
                    assert not value[came].any()
                assert now.step % 2 == 0 or not came.any()
        counts, masks = found, dict(run.masks)
    assert moves > 5


def test_what_comes_has_the_largest_gradient_of_the_whole_layer():
    steps = []
    run = start(watched(tiny_task(), steps), 2)
    before, checked = None, 0
    for now in METHODS["sparse_training"](run, sparsity=0.6, every=3, epochs=2, until=1.0, first=0.4):
        for name, keep in run.masks.items():
            gradient = steps[-1][1][name].abs()
            if before is not None and bool((keep & ~before[name]).any()):
                stayed_out = gradient[~keep]
                came = gradient[keep & ~before[name]]
                assert came.min() >= stayed_out.max()
                assert bool((steps[-1][1][name][~before[name]] != 0).any())  # also where the weights were masked
                checked += 1
        before = dict(run.masks)
        assert now.step == len(steps)
    assert checked >= 2


def test_nothing_moves_after_its_time():
    run = start(tiny_task())
    rounds = [run.round for _ in METHODS["sparse_training"](run, sparsity=0.5, every=2, epochs=4, until=0.5)]
    assert rounds == [1] + [1 + k // 2 for k in range(2, 12)] + [6] * 13
    run = start(tiny_task())
    assert len(list(METHODS["sparse_training"](run, sparsity=0.5, grow="none", every=2, epochs=1))) == 6
    assert run.round == 1


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"grow": "gradients"}, "unknown grow 'gradients'; did you mean 'gradient'"),
        ({"every": 0}, "every=0"),
        ({"until": 1.5}, r"until=1\.5"),
        ({"allocation": "urk"}, "unknown allocation"),
    ],
)
def test_bad_options_are_refused(bad, says):
    with pytest.raises(InputError, match=says):
        list(METHODS["sparse_training"](start(tiny_task()), **bad))
