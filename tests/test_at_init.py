"""At initialisation: SNIP, GraSP and SynFlow against what was worked out by hand, and what is trained afterwards."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import nn

from sapwood import masks as mask
from sapwood import saliency, schedule, select
from sapwood.checks import tiny_task
from sapwood.checks.tiny import seeded_model, tiny_model, tiny_samples
from sapwood.controls import reinitialised
from sapwood.criteria import CRITERIA
from sapwood.criterion import score
from sapwood.errors import InputError
from sapwood.methods import METHODS
from sapwood.models.mlp import mlp
from sapwood.observe import hidden, observe
from sapwood.run import start
from sapwood.statistics import weight_grad
from sapwood.task import Batch


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


def linear(*rows):
    """A layer without biases that has these weights."""
    layer = nn.Linear(len(rows[0]), len(rows), bias=False).double()
    layer.weight.data = tensor(*rows)
    return layer


def summed(outputs, batch):
    return nn.functional.cross_entropy(outputs, batch.targets, reduction="sum")


def snip_of(model, *batches, loss=summed):
    return score(model, CRITERIA["snip"], observe(model, batches, weight_grad, loss=loss))


# SNIP


def test_snip_by_hand():
    model, batch = nn.Sequential(linear([0.5, -0.25, 1])), Batch(tensor([1, 2, -1]), tensor([1]))
    found = snip_of(model, batch, loss=lambda y, b: ((y - b.targets) ** 2).sum() / 2)
    assert found["0.weight"].tolist() == [[1, 1, 2]]


def test_snip_is_the_derivative_by_an_indicator_on_every_weight():
    model, batch = seeded_model().eval(), tiny_samples()
    weights = {n: p for n, p in model.named_parameters() if p.dim() > 1}
    indicators = {n: torch.ones_like(p, requires_grad=True) for n, p in weights.items()}
    outputs = torch.func.functional_call(
        model, {n: weights[n].detach() * c for n, c in indicators.items()}, batch.inputs
    )
    expected = torch.autograd.grad(summed(outputs, batch), list(indicators.values()))
    for found, gradient in zip(snip_of(model, batch).values(), expected, strict=True):
        torch.testing.assert_close(found, gradient.abs(), rtol=1e-12, atol=1e-14)


def test_the_absolute_value_is_taken_after_all_batches_are_summed():
    model, whole = seeded_model(), tiny_samples()
    parts = [whole.take(slice(at, at + 7)) for at in range(0, 48, 7)]
    together, apart = snip_of(model, whole), snip_of(model, *parts)
    one_by_one = [snip_of(model, part) for part in parts]
    for name, expected in together.items():
        torch.testing.assert_close(apart[name], expected, rtol=1e-12, atol=1e-14)
        assert bool((sum(each[name] for each in one_by_one) > expected + 1e-6).any())


# GraSP


def test_grasp_by_hand():
    model, form = nn.Sequential(linear([1, -2])), tensor([2, 1], [1, 3])
    batch = Batch(tensor([0, 0]), tensor([0]))

    def loss(outputs, batch):
        w = model[0].weight
        return (w @ form @ w.T).sum() / 2 + 0 * outputs.sum()

    found = saliency.grasp(model, batch, loss)["0.weight"]
    assert found.tolist() == [[-5, 30]]  # S of the paper is (5, -30): the highest S goes first
    assert select.everywhere({"w": found}, 0.5)["w"].tolist() == [[False, True]]
    squares = {}
    for w in ((1, -2), (0, -2), (1, 0)):
        squares[w] = ((form @ tensor(*w)) ** 2).sum().item()
    assert squares[0, -2] - squares[1, -2] == 15
    assert squares[1, 0] - squares[1, -2] == -20


@pytest.mark.parametrize("temperature", [1.0, 200.0])
def test_grasp_is_a_finite_difference_of_gradients(temperature):
    model, batch = seeded_model().eval(), tiny_samples()
    weights = [p for p in model.parameters() if p.dim() > 1]

    def gradients():
        return torch.autograd.grad(summed(model(batch.inputs) / temperature, batch), weights)

    direction, step = gradients(), 1e-7 * temperature
    sides = []
    for sign in (1, -1):
        with torch.no_grad():
            for w, d in zip(weights, direction, strict=True):
                w += sign * step * d
        sides.append(gradients())
        with torch.no_grad():
            for w, d in zip(weights, direction, strict=True):
                w -= sign * step * d
    found = saliency.grasp(model, batch, summed, temperature=temperature)
    for s, w, ahead, behind in zip(found.values(), weights, *sides, strict=True):
        expected = w.detach() * (ahead - behind) / (2 * step)
        torch.testing.assert_close(s, expected, rtol=1e-5, atol=1e-6 * expected.abs().max().item())


def test_grasp_of_some_layers_follows_their_gradient_alone():
    model, batch = seeded_model(), tiny_samples()
    some, every = saliency.grasp(model, batch, summed, only=["0"]), saliency.grasp(model, batch, summed)
    assert list(some) == ["0.weight"]
    assert not torch.allclose(some["0.weight"], every["0.weight"])


# SynFlow


def chain(dims=2):
    inner = nn.Sequential(linear([1, -2], [0.5, 0.5]), nn.ReLU(), linear([2, -1]))
    return inner, torch.zeros(1, dims, dtype=torch.float64)


def test_synflow_by_hand():
    found = saliency.synflow(*chain())
    assert found["0.weight"].tolist() == [[2, 4], [0.5, 0.5]]
    assert found["2.weight"].tolist() == [[6, 1]]


def test_synflow_is_conserved_by_layers_and_by_units():
    torch.manual_seed(3)
    model = mlp(9, 20, 30, 10, 5, bias=False)
    found = list(saliency.synflow(model, torch.zeros(1, 9)).values())
    product = torch.ones(9, dtype=torch.float64)
    for layer in (m for m in model if isinstance(m, nn.Linear)):
        product = layer.weight.detach().double().abs() @ product
    for s in found:
        assert s.dtype == torch.float64
        assert s.sum().item() == pytest.approx(product.sum().item(), rel=1e-13)
    for reads, is_read in pairwise(found):
        torch.testing.assert_close(reads.sum(1), is_read.sum(0), rtol=1e-13, atol=0)


def test_synflow_makes_running_statistics_positive_too():
    model = nn.Sequential(linear([1, -2], [0.5, 0.5]), nn.BatchNorm1d(2).double())
    plain = saliency.synflow(model, torch.zeros(1, 2))
    model[1].running_mean.fill_(-3.0)
    model[1].running_var.fill_(-1.0)
    assert torch.equal(saliency.synflow(model, torch.zeros(1, 2))["0.weight"], plain["0.weight"])


@pytest.mark.parametrize("seed", range(5))
def test_no_layer_collapses_in_a_hundred_rounds(seed):
    """100 * 6 weights but 12 go, in six layers; ranked by |w| in one go, some layers lose all they have."""
    torch.manual_seed(seed)
    model = mlp(10, 10, 10, 10, 10, 10, 10)
    kept, total = 12, 600
    masks, plain = {}, {n: p.detach().clone() for n, p in model.named_parameters()}
    for share in schedule.geometric_rounds(1 - kept / total, 100):
        with torch.no_grad():
            for name, keep in masks.items():
                model.get_parameter(name).mul_(keep)
        scores = saliency.synflow(model, torch.zeros(1, 10))
        masks = select.everywhere(scores, share, among=masks)
    assert sum(int(keep.sum()) for keep in masks.values()) == kept
    assert min(int(keep.sum()) for keep in masks.values()) >= 1
    magnitudes = select.everywhere({n: w.abs() for n, w in plain.items() if w.dim() > 1}, 1 - kept / total)
    assert min(int(keep.sum()) for keep in magnitudes.values()) == 0


@pytest.mark.parametrize("of", ["grasp", "synflow"])
def test_looking_leaves_no_trace(of):
    model = tiny_model(dropout=0.5)
    before = {n: p.clone() for n, p in model.state_dict().items()}
    random = torch.get_rng_state()

    def look():
        if of == "grasp":
            return saliency.grasp(model, tiny_samples(), summed, only=hidden(model))
        return saliency.synflow(model, tiny_samples().inputs, only=hidden(model))

    first, second = look(), look()
    assert set(first) == {"0.weight", "2.weight"}
    assert all(torch.equal(first[n], second[n]) for n in first)
    assert all(torch.equal(v, before[n]) for n, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert not any(s.requires_grad for s in first.values())
    assert all(m.training for m in model.modules())
    assert torch.equal(random, torch.get_rng_state())


# The method


def lived(task=None, seed=0, **options):
    """A run after all of the method, the weights it began to train with, and those of the run as it was started."""
    task = task or tiny_task()
    seen = []

    def loss(model, batch, outputs):
        if model.training:
            seen.append({n: p.detach().clone() for n, p in model.state_dict().items()})
        return task.loss(model, batch, outputs)

    run = start(replace(task, loss=loss), seed)
    initial = {n: p.clone() for n, p in run.model.state_dict().items()}
    list(METHODS["at_init"](run, **{"samples": 24, "epochs": 1} | options))
    return run, seen[0], initial


@pytest.mark.parametrize("criterion", ["snip", "grasp", "synflow", "magnitude", "random_", "lamp", "activity"])
def test_the_share_goes_before_the_first_step_and_the_rest_is_as_it_was(criterion):
    run, begun, initial = lived(criterion=criterion, sparsity=0.7)
    assert sum(int(keep.sum()) for keep in run.masks.values()) == round(0.3 * 136)
    assert run.round == 1
    for name, value in initial.items():
        assert torch.equal(begun[name], value * run.masks[name] if name in run.masks else value)


def test_snip_takes_the_lowest_everywhere():
    run, _, initial = lived(sparsity=0.7, samples=48)
    model = tiny_model()
    model.load_state_dict(initial)
    expected = select.everywhere(snip_of(model, tiny_samples()), 0.7)
    assert all(torch.equal(run.masks[name], keep) for name, keep in expected.items())


def test_rounds_look_again_at_what_is_left():
    once, often = (lived(criterion="synflow", sparsity=0.9, rounds=n)[0] for n in (1, 50))
    assert any(not torch.equal(once.masks[n], often.masks[n]) for n in once.masks)
    assert mask.sparsity(once.masks) == mask.sparsity(often.masks)


def test_output_can_be_spared():
    run, _, _ = lived(criterion="magnitude", output=False)
    assert set(run.masks) == {"0.weight", "2.weight"}


def test_controls_change_places_or_weights_but_never_how_many():
    plain, _, initial = lived()
    moved, begun_moved, _ = lived(control="shuffled")
    other, begun_other, _ = lived(control="reinitialised")
    counts = {n: int(k.sum()) for n, k in plain.masks.items()}
    assert {n: int(k.sum()) for n, k in moved.masks.items()} == counts
    assert any(not torch.equal(moved.masks[n], k) for n, k in plain.masks.items())
    assert all(torch.equal(other.masks[n], k) for n, k in plain.masks.items())
    weights = reinitialised(start(tiny_task()))
    for name, keep in plain.masks.items():
        assert torch.equal(begun_moved[name], initial[name] * moved.masks[name])
        assert torch.equal(begun_other[name], weights[name] * keep)


def test_samples_are_drawn_anew_for_each_seed_and_none_twice():
    one, two = (lived(seed=seed, sparsity=0.5)[0] for seed in (0, 0))
    assert all(torch.equal(one.masks[n], k) for n, k in two.masks.items())
    few, all_of_them = lived(samples=5)[0], lived(samples=48)[0]
    assert any(not torch.equal(few.masks[n], k) for n, k in all_of_them.masks.items())


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"criterion": "snap"}, "unknown criterion 'snap'; did you mean 'snip'"),
        ({"samples": 49}, "samples is 49; give how many of 48 training samples"),
        ({"samples": 0}, "samples is 0"),
        ({"control": "swapped"}, "unknown control"),
        ({"scope": "layers"}, "unknown scope"),
        ({"rounds": 0}, "rounds is 0"),
    ],
)
def test_bad_options_are_refused(bad, says):
    with pytest.raises(InputError, match=says):
        lived(**bad)
