"""Low rank: worked numbers, optimality against rivals, the two methods built on it, and what is dead in a network."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import SGD

from sapwood.checks import tiny_task
from sapwood.errors import InputError
from sapwood.measure.ranks import rank, singular_values
from sapwood.methods import METHODS
from sapwood.reconstruction.factors import factored, factors, rates, shrunk, truncated
from sapwood.training.run import Given, start
from sapwood.training.task import Batch
from sapwood.trials.final import final_measures

SHAPES = [(5, 7), (7, 5), (6, 6)]


def matrix(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def close(a, b, atol=1e-12):
    torch.testing.assert_close(a, b, rtol=0, atol=atol)


def objective(x, w, by):
    return float((x - w).square().sum() / 2 + (by * singular_values(x)).sum())


# ---- the mathematics ----


def test_truncated_worked_by_hand():
    """[[2, 2], [1, -1]] has the singular values 2√2 and √2, each of one row."""
    w = torch.tensor([[2.0, 2.0], [1.0, -1.0]], dtype=torch.float64)
    close(truncated(w, 1), torch.tensor([[2.0, 2.0], [0.0, 0.0]], dtype=torch.float64))
    close(truncated(w, 2), w)
    # Centred: means 2 and 0; what is left, [[0, 0], [1, -1]], has rank 1, so that one component tells all.
    close(truncated(w, 1, centred=True), w)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("k", [1, 3, 5])
def test_no_other_matrix_of_that_rank_is_nearer(shape, k):
    w = matrix(*shape)
    best = truncated(w, k)
    assert rank(best) == k
    distance = float((w - best).square().sum())
    assert distance == pytest.approx(float(singular_values(w)[k:].square().sum()), abs=1e-12)
    for seed in range(1, 30):
        right_KI = matrix(k, shape[1], seed=seed)
        rival = w @ torch.linalg.pinv(right_KI) @ right_KI  # the best of those with these rows
        nudged = best + 1e-3 * truncated(matrix(*shape, seed=seed), k)
        assert distance <= float((w - rival).square().sum()) + 1e-12
        assert distance <= float((w - truncated(nudged, k)).square().sum()) + 1e-12


@pytest.mark.parametrize("shape", SHAPES)
def test_centred_is_the_papers_formula(shape):
    """Ŵ = 1μᵀ + (W - 1μᵀ) V_k V_kᵀ with W = wᵀ, V_k from the covariance of its columns."""
    kernel_IO, k = matrix(*shape).T.numpy(), 2
    mean_O = kernel_IO.mean(0)
    _, vectors = np.linalg.eigh(np.cov(kernel_IO, rowvar=False))
    v = vectors[:, ::-1][:, :k]
    expected = mean_O + (kernel_IO - mean_O) @ v @ v.T
    found = truncated(matrix(*shape), k, centred=True)
    close(found, torch.from_numpy(expected.T))
    assert rank(found) == k + 1
    close(found.mean(1), matrix(*shape).mean(1))


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_full_rank_gives_the_weight_back_in_its_own_precision(centred, dtype):
    w = matrix(4, 6).to(dtype)
    found = truncated(w, 4, centred=centred)
    assert found.dtype == dtype
    close(found, w, atol=16 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("shape", SHAPES)
def test_factors_multiply_to_the_approximation_in_equal_shares(shape):
    w = matrix(*shape)
    left_OK, right_KI = factors(w, 3)
    assert (left_OK.shape, right_KI.shape) == ((shape[0], 3), (3, shape[1]))
    close(left_OK @ right_KI, truncated(w, 3))
    sigma = torch.diag(singular_values(w)[:3])
    close(left_OK.T @ left_OK, sigma)
    close(right_KI @ right_KI.T, sigma)
    assert {part.dtype for part in factors(w.float(), 2)} == {torch.float32}


def test_rates_of_factors():
    """σ_1 = 4, so that each factor learns at an eighth; the bias, and what is not factored, at the whole rate."""
    layer = nn.Linear(3, 2).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.0, 4.0, 0.0], [1.0, 0.0, 0.0]]))
    pair, last = factored("0", layer, 2), nn.Linear(2, 2).double()
    slow, whole = rates(nn.Sequential(pair, last), 0.8)
    assert {id(w) for w in slow["params"]} == {id(pair[0].weight), id(pair[1].weight)}
    assert {id(w) for w in whole["params"]} == {id(layer.bias), id(last.weight), id(last.bias)}
    assert (slow["lr"], whole["lr"]) == (pytest.approx(0.1, rel=1e-14), 0.8)


def test_at_these_rates_no_product_moves_further_than_an_undivided_weight_would():
    layer, lr = nn.Linear(7, 5).double(), 1e-6
    w = layer.weight.detach().clone()
    pair = factored("0", layer, 3)
    optimizer = SGD(rates(nn.Sequential(pair), lr), lr)
    for seed in range(20):
        slope_OI, (right, left) = matrix(5, 7, seed=seed), (pair[0].weight, pair[1].weight)
        before = (left @ right).detach()
        right.grad, left.grad = left.detach().T @ slope_OI, slope_OI @ right.detach().T
        optimizer.step()
        moved = float(((left @ right).detach() - before).norm())
        assert 0.05 * lr * float(slope_OI.norm()) < moved <= lr * float(slope_OI.norm()) * (1 + 1e-4)
    close((pair[1].weight @ pair[0].weight).detach(), truncated(w, 3), atol=1e-3)


def test_shrunk_worked_by_hand():
    w = torch.tensor([[0.0, 3.0], [-1.0, 0.0]], dtype=torch.float64)
    close(shrunk(w, 0.5), torch.tensor([[0.0, 2.5], [-0.5, 0.0]], dtype=torch.float64))
    close(shrunk(w, 2), torch.tensor([[0.0, 1.0], [0.0, 0.0]], dtype=torch.float64))
    close(shrunk(w, torch.tensor([0.25, 0.75])), torch.tensor([[0.0, 2.75], [-0.25, 0.0]], dtype=torch.float64))
    close(shrunk(w, 0.0), w)
    assert shrunk(w.half(), 0.5).dtype == torch.float16


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("weighted", [False, True])
def test_shrunk_minimises_distance_and_nuclear_norm(shape, weighted):
    """Against random steps of all sizes, and against what a general-purpose descent finds from elsewhere."""
    w = matrix(*shape)
    sigma = singular_values(w)
    by = sigma[-2:].mean() / ((sigma + 0.1) / (sigma[-2] + 0.1) if weighted else torch.ones_like(sigma))
    found = shrunk(w, by)
    assert rank(found) == min(shape) - 1
    least = objective(found, w, by)
    for seed in range(60):
        step = matrix(*shape, seed=seed + 1) * 10.0 ** -(seed % 6)
        assert objective(found + step, w, by) >= least - 1e-12
    x = w.clone().requires_grad_()
    descent = SGD([x], lr=0.1)
    for step in range(400):
        descent.param_groups[0]["lr"] = 0.1 / (1 + step / 20)  # a kink at every σ_i = 0: steps must become small
        descent.zero_grad()
        ((x - w).square().sum() / 2 + (by * torch.linalg.svdvals(x)).sum()).backward()
        descent.step()
    assert least <= objective(x.detach(), w, by) <= least + 0.05


def test_weights_that_fall_are_only_the_formula():
    """The docstring's warning is true: here w unchanged but for its order is better than what the formula gives."""
    w = torch.diag(torch.tensor([2.0, 1.9], dtype=torch.float64))
    by = torch.tensor([1.5, 0.0], dtype=torch.float64)
    found = shrunk(w, by)
    close(singular_values(found), torch.tensor([1.9, 0.5], dtype=torch.float64))
    better = torch.diag(torch.tensor([1.2, 1.2], dtype=torch.float64))
    assert objective(better, w, by) < objective(found, w, by)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda w: truncated(w, 0), r"rank is 0 .*1\.\.2"),
        (lambda w: truncated(w, 3), r"rank is 3 for a weight of shape \(2, 4\)"),
        (lambda w: factors(w, True), "rank is True"),
        (lambda w: truncated(w[0], 1), r"shape \(4,\) is not a matrix"),
        (lambda w: shrunk(w, -0.1), "shrunk by -0.1"),
        (lambda w: shrunk(w, float("nan")), "shrunk by nan"),
        (lambda w: shrunk(w, torch.ones(4)), r"by has shape \(4,\), but there are 2"),
        (lambda w: shrunk(w / 0, 1.0), "NaN or infinite"),
    ],
)
def test_refusals(call, says):
    with pytest.raises(InputError, match=says):
        call(matrix(2, 4))


# ---- the methods ----


def run_of(**given):
    run = start(tiny_task())
    run.given = given
    return run


def left_by(run, masks=None, epochs=0.0):
    weights = {name: value.clone() for name, value in run.model.state_dict().items()}
    return Given(weights, masks or {}, epochs)


def measured(run):
    return {(each.split, each.metric): each.value for each in final_measures(run)}


def test_low_rank_takes_its_ranks_from_another_trial():
    """Masks count: four of eight neurons are masked in the first layer, in the second two of the rows are equal."""
    other = start(tiny_task(), seed=5)
    keep = torch.ones(8, 6, dtype=torch.bool)
    keep[:4] = False
    with torch.no_grad():
        other.model[2].weight[1] = other.model[2].weight[0]
    run = run_of(like=left_by(other, {"0.weight": keep}))
    before = left_by(run).weights
    assert list(METHODS["low_rank"](run)) == []
    assert run.step == 0
    for name, k in (("0", 4), ("2", 7)):
        close(run.model.get_submodule(name).weight.detach(), truncated(before[f"{name}.weight"], k, centred=True))
    same = ["0.bias", "2.bias", "5.weight", "5.bias"]
    assert all(torch.equal(run.model.state_dict()[name], before[name]) for name in same)
    found = measured(run)
    assert (found["note", "rank_kept_1"], found["note", "rank_kept_2"]) == (4, 7)
    assert (found["network", "rank_1"], found["network", "rank_2"]) == (5, 8)


def test_low_rank_leaves_a_layer_of_full_rank_alone():
    run = run_of()
    before = left_by(run).weights
    list(METHODS["low_rank"](run, ranks="6 2", centred=False))
    assert torch.equal(run.model[0].weight, before["0.weight"])
    assert rank(run.model[2].weight) == 2


@pytest.mark.parametrize("centred", [True, False])
def test_trained_factors_begin_as_the_approximation(centred):
    once, on = run_of(), run_of()
    list(METHODS["low_rank"](once, ranks="3 4", centred=centred))
    inputs, begun = once.task.data.test.inputs, []
    become, luck = on.become, torch.get_rng_state()

    def seen_to_become(model, *optimizer):
        assert torch.equal(luck, torch.get_rng_state())  # no weights were drawn to be thrown away
        begun.append(model.eval()(inputs))
        become(model, *optimizer)

    on.become = seen_to_become
    assert len(list(METHODS["low_rank"](on, ranks="3 4", centred=centred, epochs=2, stop="epochs"))) == 12
    close(begun[0], once.model.eval()(inputs))
    assert float((on.model.eval()(inputs) - begun[0]).detach().abs().max()) > 0.1
    assert on.model[0][0].weight.shape == (3 + centred, 6)
    assert on.model[2][1].weight.shape == (8, 4 + centred)
    found = measured(on)
    assert found["note", "rank_kept_2"] == 4
    assert found["network", "weights"] == (6 + 8) * (3 + centred) + (8 + 8) * (4 + centred) + 8 * 3
    assert found["network", "rank_1"] == 3 + centred


def convolutional(dtype=torch.float64):
    """A task whose first hidden layer is a convolution."""

    def model():
        first = (nn.Unflatten(1, (1, 6)), nn.Conv1d(1, 4, 3), nn.ReLU(), nn.Flatten())
        return nn.Sequential(*first, nn.Linear(16, 5), nn.ReLU(), nn.Linear(5, 3)).to(dtype)

    task = tiny_task()
    splits = {name: getattr(task.data, name) for name in ("train", "valid", "test")}
    data = replace(task.data, **{name: Batch(s.inputs.to(dtype), s.targets) for name, s in splits.items()})
    return replace(task, model=model, data=data)


def test_low_rank_of_a_convolution():
    run = start(convolutional())
    before = run.model[1].weight.detach().clone()
    list(METHODS["low_rank"](run, ranks="2 5", centred=False))
    close(run.model[1].weight.detach().flatten(1), truncated(before.flatten(1), 2))
    assert run.model[1].weight.shape == (4, 1, 3)
    with pytest.raises(InputError, match="'1' is a Conv1d"):
        list(METHODS["low_rank"](start(convolutional()), ranks="2 3", epochs=1))
    assert len(list(METHODS["low_rank"](start(convolutional()), ranks="3 3", epochs=1, stop="epochs"))) == 6


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, r"does not know which ranks; .*after\(like="),
        ({"ranks": "3"}, "ranks is '3'; give 2 whole numbers, one for each of 0, 2"),
        ({"ranks": "3 x"}, "ranks is '3 x'"),
        ({"ranks": "3 0"}, r"layer '2' is to have rank 0; give one in 1\.\.8"),
        ({"ranks": "7 2"}, r"layer '0' is to have rank 7; give one in 1\.\.6"),
    ],
)
def test_low_rank_refuses(options, says):
    with pytest.raises(InputError, match=says):
        list(METHODS["low_rank"](run_of(), **options))


def test_low_rank_refuses_to_be_like_another_network_or_a_dead_one():
    other = left_by(start(tiny_task()))
    with pytest.raises(InputError, match=r"no weight '2\.weight'"):
        list(METHODS["low_rank"](run_of(like=replace(other, weights={"0.weight": other.weights["0.weight"]}))))
    other.weights["2.weight"].zero_()
    with pytest.raises(InputError, match="layer '2' is to have rank 0"):
        list(METHODS["low_rank"](run_of(like=other)))


@pytest.mark.parametrize(("every", "sizes"), [(4, [4, 2, 4, 2]), (6, [6, 6]), (100, [6, 6]), (1, [1] * 12)])
def test_nuclear_shrinks_for_every_update_once(monkeypatch, every, sizes):
    """Six updates an epoch at a rate of 0.1: what is left over at an epoch's end is shrunk then."""
    seen = []
    monkeypatch.setitem(METHODS["nuclear"].__globals__, "shrink_", lambda w, size, epsilon: seen.append(size))
    list(METHODS["nuclear"](run_of(), strength=0.5, every=every, epochs=2))
    assert seen == pytest.approx([size * 0.1 * 0.5 for size in sizes for _ in range(2)])


@pytest.mark.parametrize("weighted", [False, True])
def test_nuclear_takes_its_step_after_the_optimisers(weighted):
    plain = run_of()
    next(METHODS["dense"](plain, epochs=1))
    drawn = run_of()  # not before: both draw their dropout from the seed this sets
    next(METHODS["nuclear"](drawn, strength=0.7, weighted=weighted, epsilon=0.2, every=1, epochs=1))
    for layer in (0, 2):
        w = plain.model[layer].weight.detach()
        sigma = singular_values(w)
        by = 0.1 * 0.7 / (sigma + 0.2) if weighted else 0.1 * 0.7
        close(drawn.model[layer].weight.detach(), shrunk(w, by))
    assert torch.equal(plain.model[5].weight, drawn.model[5].weight)


def test_nuclear_lowers_the_rank_and_stands_so_at_each_epochs_end():
    plain, drawn = run_of(), run_of()
    list(METHODS["dense"](plain, epochs=4, stop="epochs"))
    for now in METHODS["nuclear"](drawn, strength=0.3, every=4, epochs=4):
        assert not now.ends_epoch or now.epoch < 3 or rank(drawn.model[2].weight) < 8
    assert rank(plain.model[2].weight) == 8
    assert singular_values(drawn.model[2].weight).sum() < singular_values(plain.model[2].weight).sum() / 2


def test_nuclear_of_a_convolution_in_float32():
    run = start(convolutional(torch.float32))
    list(METHODS["nuclear"](run, strength=3.0, epochs=1, weighted=True))
    assert run.model[1].weight.dtype == torch.float32
    assert rank(run.model[1].weight) < 3


@pytest.mark.parametrize(("name", "value"), [("strength", -0.1), ("epsilon", 0.0), ("every", 0)])
def test_nuclear_refuses(name, value):
    with pytest.raises(InputError, match=f"{name} is {value}"):
        list(METHODS["nuclear"](run_of(), **{name: value}))


def test_dense_as_long_as_another_trial():
    """Whole epochs; a target met at once and a cap of one epoch do not end it."""
    run = run_of(like=left_by(run_of(), epochs=3.4))
    moments = list(METHODS["dense"](run, as_long=True, target=0.01, epochs=1))
    assert (moments[-1].epoch, run.step) == (3, 18)
    with pytest.raises(InputError, match=r"as_long copies .*after\(like="):
        list(METHODS["dense"](run_of(), as_long=True))
    assert len(list(METHODS["dense"](run_of(like=run.given["like"]), target=0.01))) == 6


# ---- what is dead ----


def dead_of(model):
    """The metric of a network on the tiny task."""
    run = start(tiny_task())
    run.become(model.double())
    return measured(run)["network", "dead"]


def test_dead_share_worked_by_hand():
    """6-4-5-3: 24 + 20 + 15 = 59 weights. Zero columns: three in the first layer, their biases -1, 0 and 2."""
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 5, bias=False), nn.ReLU(), nn.Linear(5, 3))
    assert dead_of(model) == 0
    with torch.no_grad():
        model[0].weight[:3] = 0
        model[0].bias.copy_(torch.tensor([-1.0, 0.0, 2.0, -1.0]))
        model[4].weight[0] = 0  # the output layer does not count
        model[4].bias.fill_(-1)
        model[2].weight[:, 0] = 0  # nor do weights out of a neuron
    assert dead_of(model) == pytest.approx(2 * 6 / 59, abs=1e-15)
    with torch.no_grad():
        model[2].weight[1] = 0  # no bias
    assert dead_of(model) == pytest.approx((2 * 6 + 4) / 59, abs=1e-15)


def test_dead_neurons_stay_as_they_are_and_the_others_grow_back():
    run = start(tiny_task())
    with torch.no_grad():
        run.model[0].weight[:2] = 0
        run.model[0].bias[:2] = torch.tensor([-0.5, 0.5])
    assert measured(run)["network", "dead"] == pytest.approx(6 / (48 + 64 + 24), abs=1e-15)
    list(METHODS["dense"](run, epochs=2, stop="epochs"))
    assert run.model[0].weight[:2].any(1).tolist() == [False, True]
