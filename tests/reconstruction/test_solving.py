"""Solvers on examples that can be worked out by hand or by brute force, on inputs that need no Gram matrix."""

from itertools import combinations

import pytest
import torch
from torch import nn

from sapwood import select
from sapwood.errors import InputError
from sapwood.reconstruction import (
    contributions,
    lasso_channels,
    output_error,
    reduced_rank,
    refit,
    sparsegpt,
    thinet,
)
from sapwood.scoring.observation import observe
from sapwood.scoring.statistics import cross, gram
from sapwood.shrinking.cutting.units import unit_of_columns
from sapwood.shrinking.finding import sites
from sapwood.training.task import Batch

D = torch.float64


def matrix(*rows):
    return torch.tensor(rows, dtype=D)


def correlated(seed, outputs=16, inputs=32, samples=512):
    """Weights, and inputs that depend on one another."""
    luck = torch.Generator().manual_seed(seed)
    mix = torch.randn(inputs, inputs, generator=luck, dtype=D) * torch.rand(inputs, generator=luck, dtype=D) * 3
    return torch.randn(outputs, inputs, generator=luck, dtype=D), torch.randn(
        samples, inputs, generator=luck, dtype=D
    ) @ (torch.eye(inputs, dtype=D) + mix / inputs**0.5)


def error(w, original, x):
    return float((x @ (w - original).T).square().sum() / (x @ original.T).square().sum())


# -- least squares


def test_refit_worked_out_by_hand():
    """gram [[2, 1], [1, 1]], w = (1, -1.5): without the first weight the second becomes -0.5, else the first 0.25."""
    w, g = matrix([1.0, -1.5]), matrix([2.0, 1.0], [1.0, 1.0])
    for keep, expected in (([False, True], [0.0, -0.5]), ([True, False], [0.25, 0.0])):
        found, _ = refit(w, g, keep=torch.tensor(keep))
        assert torch.allclose(found, matrix(expected), rtol=0, atol=1e-8)


def test_refit_of_any_mask_is_least_squares_row_by_row():
    w, x = correlated(0)
    keep = select.per_layer({"": w.abs()}, 0.6)[""]
    found, same = refit(w, x.T @ x, keep=keep)
    assert same is keep
    for row in range(len(w)):
        best = torch.linalg.lstsq(x[:, keep[row]], x @ w[row]).solution
        assert torch.allclose(found[row, keep[row]], best, rtol=1e-6, atol=1e-8)


def test_refit_to_what_another_network_wants():
    w, x = correlated(1)
    other = x + 0.3 * torch.randn(x.shape, generator=torch.Generator().manual_seed(5), dtype=D)
    wanted = x @ w.T
    keep = torch.arange(w.shape[1]) % 3 != 0
    found, _ = refit(w, other.T @ other, other.T @ wanted, keep=keep)
    best = torch.linalg.lstsq(other[:, keep], wanted).solution.T
    assert torch.allclose(found[:, keep], best, rtol=1e-6, atol=1e-8)
    assert not found[:, ~keep].any()
    own, _ = refit(w, other.T @ other, keep=keep)
    assert (other @ found.T - wanted).square().sum() < (other @ own.T - wanted).square().sum()


def test_where_samples_say_nothing_weights_stay():
    w, x = correlated(2, samples=4)
    x[:, 7] = 0
    keep = torch.ones(w.shape[1], dtype=torch.bool)
    keep[3] = False
    found, _ = refit(w, x.T @ x, keep=keep)
    assert torch.equal(found[:, 7], w[:, 7])
    assert torch.allclose(x @ found.T, x @ w.T, atol=1e-6)
    assert (found - w)[:, keep].norm() < w[:, 3].norm() * 10


def test_output_error_is_the_error_of_the_outputs():
    w, x = correlated(3)
    found = w * (torch.rand(w.shape, generator=torch.Generator().manual_seed(0)) > 0.5)
    assert output_error(found, w, x.T @ x) == pytest.approx(error(found, w, x), rel=1e-9)
    assert output_error(w, w, torch.zeros(32, 32, dtype=D)) == 0


# -- ThiNet


def test_channels_add_up_to_the_layer_without_its_bias():
    """The collector: G from the layer's Gram matrix is that of what each channel adds, computed channel by channel."""
    luck = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 5, 3, stride=2, padding=1))
    model = nn.Sequential(*model, nn.Flatten(), nn.Linear(20, 3)).double().eval()
    x = torch.randn(7, 3, 10, 10, generator=luck, dtype=D)
    site = next(s for s in sites(model, x[:1]) if s.name == "0")
    reads = next(iter(site.at("reads")))
    unit_of_I = unit_of_columns(model, reads)
    assert unit_of_I.tolist() == [c for c in range(6) for _ in range(9)]
    seen = observe(model, [Batch(x, torch.zeros(7))], gram, cross, only=["3"])["3"]
    w_OI = model[3].weight.detach().flatten(1)
    found = contributions(w_OI, seen[gram], unit_of_I=unit_of_I)
    with torch.no_grad():
        h = model[:3](x)
        added = [
            nn.functional.conv2d(h[:, [c]], model[3].weight[:, [c]], stride=2, padding=1).flatten() for c in range(6)
        ]
        y = (model[:4](x) - model[3].bias.view(1, -1, 1, 1)).flatten()
    x_MU = torch.stack(added, 1)
    assert float((y - x_MU.sum(1)).abs().max()) < 1e-12
    assert torch.allclose(found.gram_UU, x_MU.T @ x_MU, rtol=1e-9, atol=1e-9)
    assert torch.allclose(found.wanted_U, x_MU.T @ y, rtol=1e-9, atol=1e-9)
    wanted = contributions(w_OI, seen[gram], seen[cross], unit_of_I=unit_of_I)
    assert torch.allclose(wanted.wanted_U, found.wanted_U, rtol=1e-9, atol=1e-9)


def test_thinet_worked_out_by_hand():
    """Three samples, x_1 = (1, 0, 0), x_2 = (0, 1, 0), x_3 = (1, 1, 1); y = (2, 2, 1).

    Gains at the best scale: 4, 4, 25/3, so 3 is first, with scale 5/3 and a gap of (1/3, 1/3, -2/3); then 1, of equals
    the first, and both again: scales 1/2 of 1 and 3/2 of 3. Removing: |x_c|² is 1, 1, 3, so 1 goes first; then
    |x_1 + x_2|² = 2 is less than |x_1 + x_3|² = 6, so 2 goes, and 3 is left with 5/3.
    """
    x = matrix([1, 0, 1], [0, 1, 1], [0, 0, 1])
    w = matrix([1.0, 1.0, 1.0])
    for kept, rule, expected in (
        (1, "keep", [0, 0, 5 / 3]),
        (2, "keep", [1 / 2, 0, 3 / 2]),
        (1, "remove", [0, 0, 5 / 3]),
    ):
        found, keep = thinet(w, x.T @ x, sparsity=1 - kept / 3, rule=rule)
        assert torch.allclose(found, matrix(expected), rtol=0, atol=1e-8)
        assert keep.tolist() == [value != 0 for value in expected]


def matched(x, y, count):
    """Orthogonal matching pursuit on the samples themselves."""
    chosen, rest = [], y
    for _ in range(count):
        gains = [
            -1 if c in chosen else float((x[:, c] @ rest) ** 2 / x[:, c].square().sum()) for c in range(x.shape[1])
        ]
        chosen.append(max(range(x.shape[1]), key=gains.__getitem__))
        scale = torch.linalg.lstsq(x[:, sorted(chosen)], y[:, None]).solution[:, 0]
        rest = y - x[:, sorted(chosen)] @ scale
    return sorted(chosen), scale


def removed(x, count):
    """The greedy removal on the samples themselves."""
    gone = []
    for _ in range(count):
        left = [c for c in range(x.shape[1]) if c not in gone]
        gone.append(min(left, key=lambda c: float(x[:, [*gone, c]].sum(1).square().sum())))
    return [c for c in range(x.shape[1]) if c not in gone]


@pytest.mark.parametrize("seed", range(4))
def test_the_gram_matrix_picks_what_the_samples_pick(seed):
    w, x = correlated(seed, outputs=1, inputs=12)
    x_MU = x * w
    for count in (2, 6, 9):
        found, keep = thinet(w, x.T @ x, sparsity=1 - count / 12)
        chosen, scale = matched(x_MU, x_MU.sum(1), count)
        assert keep.nonzero().flatten().tolist() == chosen
        assert torch.allclose(found[0, chosen], w[0, chosen] * scale, rtol=1e-6)
        _, keep = thinet(w, x.T @ x, sparsity=1 - count / 12, rule="remove")
        assert keep.nonzero().flatten().tolist() == removed(x_MU, 12 - count)


def test_thinet_beats_random_channels_on_samples_that_it_has_not_seen():
    w, x = correlated(0, samples=1024)
    fit, held_out = x[:512], x[512:]
    luck = torch.Generator().manual_seed(0)
    found, keep = thinet(w, fit.T @ fit, sparsity=0.5)
    at_random = []
    for _ in range(20):
        columns = torch.zeros(32, dtype=torch.bool)
        columns[torch.randperm(32, generator=luck)[:16]] = True
        at_random.append(error(w * columns, w, held_out))
    assert error(found, w, held_out) < sum(at_random) / 20
    assert error(found, w, held_out) < error(w * keep, w, held_out)  # the scales help where they were not fitted
    assert int(keep.sum()) == 16


def test_a_channel_makes_up_for_its_twin_and_a_dead_one_comes_last():
    """x_1 = x_2, x_3 = 0: one of the twins is kept, at twice its weight."""
    luck = torch.Generator().manual_seed(0)
    x = torch.randn(50, 3, generator=luck, dtype=D)
    x[:, 1], x[:, 2] = x[:, 0], 0
    found, keep = thinet(matrix([0.5, 0.5, 7.0]), x.T @ x, sparsity=2 / 3)
    assert keep.tolist() == [True, False, False]
    assert torch.allclose(found, matrix([1.0, 0, 0]), atol=1e-6)


def test_columns_of_no_unit_are_as_they_were():
    w, x = correlated(4, inputs=10)
    unit = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3, -1, -1])
    for solve in (thinet, lasso_channels):
        found, keep = solve(w, x.T @ x, sparsity=0.5, unit_of_I=unit)
        assert int(keep.sum()) == 2
        gone = torch.tensor([u >= 0 and not keep[u] for u in unit.tolist()])
        assert not found[:, gone].any()
        assert found[:, ~gone].ne(0).all()
    assert torch.equal(thinet(w, x.T @ x, sparsity=0.5, unit_of_I=unit)[0][:, 8:], w[:, 8:])


def test_what_is_wanted_of_units_leaves_out_columns_of_none():
    """One unit of 1, beside a column of no unit that gives half of what is wanted: the unit is scaled to the rest."""
    x = torch.randn(40, 2, generator=torch.Generator().manual_seed(0), dtype=D)
    w = matrix([1.0, 1.0])
    wanted = x @ matrix([3.0, 1.0]).T
    found, _ = thinet(w, x.T @ x, x.T @ wanted, sparsity=0.0, unit_of_I=torch.tensor([0, -1]))
    assert torch.allclose(found, matrix([3.0, 1.0]), atol=1e-6)


# -- LASSO


@pytest.mark.parametrize("seed", range(3))
def test_lasso_finds_the_channels_that_matter(seed):
    """Outputs that four channels of twelve make, and the others hardly: these four are kept, and refitted."""
    luck = torch.Generator().manual_seed(seed)
    x = torch.randn(400, 12, generator=luck, dtype=D)
    w = 0.01 * torch.randn(5, 12, generator=luck, dtype=D)
    matter = torch.randperm(12, generator=luck)[:4].sort().values
    w[:, matter] += torch.randn(5, 4, generator=luck, dtype=D)
    found, keep = lasso_channels(w, x.T @ x, sparsity=8 / 12)
    assert keep.nonzero().flatten().tolist() == matter.tolist()
    best = torch.linalg.lstsq(x[:, keep], x @ w.T).solution.T
    assert torch.allclose(found[:, keep], best, rtol=1e-6, atol=1e-8)


def test_lasso_is_near_the_best_of_all_choices():
    """All 70 choices of 4 channels of 8, refitted: the LASSO's is among the better half for each of six layers."""
    for seed in range(6):
        w, x = correlated(seed, outputs=6, inputs=8)
        g = x.T @ x
        errors = []
        for choice in combinations(range(8), 4):
            keep = torch.zeros(8, dtype=torch.bool)
            keep[list(choice)] = True
            errors.append(output_error(refit(w, g, keep=keep)[0], w, g))
        mine = output_error(lasso_channels(w, g, sparsity=0.5)[0], w, g)
        assert mine >= min(errors) * (1 - 1e-9)
        assert mine < sorted(errors)[35]


# -- SparseGPT


def test_sparsegpt_worked_out_by_hand():
    """gram [[2, 1], [1, 1]]: w²/U² of (1, -1.5) is 1 and 2.25; the first goes, the second becomes -0.5."""
    found, keep = sparsegpt(matrix([1.0, -1.5]), matrix([2.0, 1.0], [1.0, 1.0]), sparsity=0.5, ridge=1e-12)
    assert keep.tolist() == [[False, True]]
    assert torch.allclose(found, matrix([0.0, -0.5]), atol=1e-9)


def test_sparsegpt_of_inputs_that_are_independent_is_magnitude():
    w, _ = correlated(0)
    found, keep = sparsegpt(w, torch.eye(32, dtype=D), sparsity=0.5, ridge=0)
    assert torch.equal(keep, select.per_layer({"": w.abs()}, 0.5)[""])
    assert torch.equal(found, w * keep)


@pytest.mark.parametrize("seed", range(8))
def test_sparsegpt_lies_between_magnitude_and_the_exact_refit(seed):
    w, x = correlated(seed)
    g = x.T @ x
    found, keep = sparsegpt(w, g, sparsity=0.5, block=16)
    by_magnitude = w * select.per_layer({"": w.abs()}, 0.5)[""]
    assert output_error(found, w, g) < output_error(by_magnitude, w, g)
    assert output_error(refit(w, g, keep=keep)[0], w, g) <= output_error(found, w, g)


def test_two_of_four_weights_stay():
    w, x = correlated(0)
    g = x.T @ x
    found, keep = sparsegpt(w, g, pattern=(2, 4), block=8)
    assert keep.view(16, 8, 4).sum(2).eq(2).all()
    assert torch.equal(found != 0, keep)
    whole, _ = sparsegpt(w, g, pattern=(2, 4), block=32)
    assert torch.allclose(found, whole, atol=1e-12)  # a pattern is chosen group by group, whatever the block
    assert output_error(found, w, g) < output_error(w * select.n_of_m({"": w.abs()}, 2, 4)[""], w, g)


def test_inputs_that_are_always_zero_go_first():
    w, x = correlated(0)
    x[:, ::4] = 0
    found, keep = sparsegpt(w, x.T @ x, sparsity=0.25)
    assert not keep[:, ::4].any()
    assert torch.equal(found[keep], w[keep])
    found, keep = sparsegpt(w, x.T @ x, sparsity=0.0)
    assert torch.equal(found, w)


# -- low rank


@pytest.mark.parametrize("seed", range(3))
def test_no_weight_of_the_rank_gives_nearer_outputs(seed):
    """The error is the tail of the singular values of the outputs themselves."""
    w, x = correlated(seed)
    found, keep = reduced_rank(w, x.T @ x, sparsity=0.75)
    assert int(keep.sum()) == int(torch.linalg.matrix_rank(found)) == 4
    sigma = torch.linalg.svdvals(x @ w.T)
    assert float((x @ (w - found).T).square().sum()) == pytest.approx(float(sigma[4:].square().sum()), rel=1e-9)


def test_of_independent_inputs_it_is_the_truncated_decomposition():
    w, _ = correlated(0)
    left, sigma, right = torch.linalg.svd(w, full_matrices=False)
    found, _ = reduced_rank(w, torch.eye(32, dtype=D), sparsity=0.5)
    assert torch.allclose(found, left[:, :8] * sigma[:8] @ right[:8], atol=1e-12)


def test_reduced_rank_to_what_another_network_wants():
    w, x = correlated(0)
    other = x + torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=D)
    wanted = x @ w.T
    found, _ = reduced_rank(w, other.T @ other, other.T @ wanted, sparsity=0.5)
    own, _ = reduced_rank(w, other.T @ other, sparsity=0.5)
    assert (other @ found.T - wanted).square().sum() < (other @ own.T - wanted).square().sum()


# -- refusals


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda w, g: refit(w, g, keep=torch.ones(5, dtype=torch.bool)), r"keep is torch.bool of shape \(5,\)"),
        (lambda w, g: refit(w, g, keep=torch.ones(32)), "keep is torch.float32"),
        (lambda w, g: refit(w, g, g, keep=torch.ones(32, dtype=torch.bool)), r"cross_IO has shape \(32, 32\)"),
        (lambda w, g: thinet(w, g, sparsity=0.5, rule="loose"), "unknown rule 'loose'"),
        (
            lambda w, g: thinet(w, g, sparsity=0.5, unit_of_I=torch.arange(31)),
            r"unit_of_I is torch.int64 of shape \(31,\)",
        ),
        (lambda w, g: thinet(w, g, sparsity=0.5, unit_of_I=torch.full((32,), -1)), "unit_of_I"),
        (lambda w, g: sparsegpt(w, g, block=0), "block is 0"),
        (lambda w, g: sparsegpt(w, g, pattern=(2, 5)), "pattern is 2 of 5 for 32 columns"),
        (lambda w, g: sparsegpt(w, g, pattern=(2, 4), block=6), "pattern is 2 of 4"),
        (lambda w, g: sparsegpt(w, g, sparsity=1.0), "sparsity is 1.0"),
        (lambda w, g: sparsegpt(w, -g), "gram_II is no sum"),
        (lambda w, g: lasso_channels(w, g[:4, :4], sparsity=0.5), r"gram_II has shape \(4, 4\)"),
    ],
)
def test_what_does_not_fit_is_named(call, says):
    w, x = correlated(0)
    with pytest.raises(InputError, match=says):
        call(w, x.T @ x)
