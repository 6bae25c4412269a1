"""Wanda, SparseGPT and OWL: worked examples, loops without any shortcut, and what others' code gets wrong."""

from functools import cache

import pytest
import torch
from torch import nn

from sapwood import select
from sapwood.criteria import CRITERIA
from sapwood.errors import InputError
from sapwood.reconstruction import columnwise, output_error, refit, sparsegpt
from sapwood.scoring.observation import observe
from sapwood.scoring.statistics import gram, input_square
from sapwood.selection.outliers import by_outliers, share_of_outliers

D = torch.float64
wanda = CRITERIA["wanda"].score


def layer(seed, outputs=16, inputs=32, samples=512, spread=3.0):
    """Weights, and inputs that depend on one another and are of different sizes."""
    luck = torch.Generator().manual_seed(seed)
    mix = torch.eye(inputs, dtype=D) + torch.randn(inputs, inputs, generator=luck, dtype=D) / inputs**0.5
    size_I = torch.rand(inputs, generator=luck, dtype=D) * spread + 0.1
    x = torch.randn(samples, inputs, generator=luck, dtype=D) @ mix * size_I
    return torch.randn(outputs, inputs, generator=luck, dtype=D), x


def seen(x):
    return {input_square: x.square().sum(0)}


def levels(w):
    """Weights as 4 bits leave them, so that most sizes tie."""
    return (w * 2).round().clamp(-7, 7)


# -- Wanda


def test_wanda_worked_out_by_hand():
    w = torch.tensor([[4.0, 0, 1, -1], [3, -2, -1, -3], [-3, 1, 0, 2]])
    scores = wanda(w, {input_square: torch.tensor([1.0, 2, 8, 3]).square()})
    assert scores.tolist() == [[4, 0, 8, 3], [3, 4, 8, 9], [3, 2, 0, 6]]
    kept = w * select.per_row({"": scores}, 0.5)[""]
    assert kept.tolist() == [[4, 0, 1, 0], [0, 0, -1, -3], [-3, 0, 0, 2]]
    by_size = select.per_row({"": w.abs()}, 0.5)[""]
    first, other = [True, False, True, False], [True, False, False, True]
    assert by_size.tolist() == [first, other, other]  # of the first row's 1 and -1, which tie, the first stays


def test_wanda_is_the_definition_row_by_row():
    w, x = layer(0)
    keep = select.per_row({"": wanda(w, seen(x))}, 0.4)[""]
    for row in range(len(w)):
        scores = [abs(float(w[row, i])) * float(x[:, i].norm()) for i in range(32)]
        gone = sorted(range(32), key=scores.__getitem__)[: round(0.4 * 32)]
        assert (~keep[row]).nonzero().flatten().tolist() == sorted(gone)


def test_what_scales_all_inputs_or_kills_one_does_to_wanda():
    w, x = layer(1)
    keep = select.per_row({"": wanda(w, seen(x))}, 0.5)[""]
    assert torch.equal(keep, select.per_row({"": wanda(w, seen(8 * x))}, 0.5)[""])
    x[:, 5] = 0
    assert not select.per_row({"": wanda(w, seen(x))}, 1 / 32)[""][:, 5].any()
    alike = {input_square: torch.full((32,), 7.0, dtype=D)}
    assert torch.equal(select.per_row({"": wanda(w, alike)}, 0.5)[""], select.per_row({"": w.abs()}, 0.5)[""])


def test_ties_are_settled_by_position_and_counts_stay_exact():
    w = levels(layer(2)[0])
    scores = wanda(w, {input_square: torch.ones(32, dtype=D)})
    assert select.per_row({"": scores}, 0.5)[""].sum(1).eq(16).all()
    for n, m in ((2, 4), (4, 8)):
        keep = select.n_of_m({"": scores}, n, m)[""]
        for row, group in zip(scores.view(-1, m), keep.view(-1, m), strict=True):
            order = sorted(range(m), key=lambda i, row=row: (-float(row[i]), i))
            assert group.nonzero().flatten().tolist() == sorted(order[:n])


# -- SparseGPT


@cache
def first_rows():
    """A layer of 256 x 256, and the first row of the inverse of what is left of H at each column."""
    w, x = layer(0, 256, 256, samples=600)
    g = x.T @ x
    h = g + 0.01 * g.diagonal().mean() * torch.eye(256, dtype=D)
    unit = torch.eye(256, dtype=D)
    return w, g, [torch.linalg.solve(h[j:, j:], unit[j:, j]) for j in range(256)]


def loop(sparsity, pattern, block):
    """SparseGPT without a factor: at each column, what is left of H is inverted anew."""
    w, _, rows = first_rows()
    w, keep = w.clone(), torch.ones_like(w, dtype=torch.bool)
    variance = torch.stack([row[0] for row in rows])
    for j in range(256):
        if pattern is None and j % block == 0:
            scores = (w[:, j : j + block].square() / variance[j : j + block]).flatten()
            keep[:, j : j + block] = True
            gone = scores.argsort(stable=True)[: round(sparsity * 256 * (j + block)) - round(sparsity * 256 * j)]
            keep[:, j : j + block] = torch.ones_like(scores).index_fill(0, gone, 0).bool().view(256, block)
        if pattern is not None and j % pattern[1] == 0:
            n, m = pattern
            best = (w[:, j : j + m].square() / variance[j : j + m]).topk(n, 1).indices
            keep[:, j : j + m] = torch.zeros(256, m).scatter(1, best, 1).bool()
        error = torch.where(keep[:, j], 0, w[:, j]) / rows[j][0]
        w[:, j:] -= error[:, None] * rows[j]
    return torch.where(keep, w, 0), keep


@pytest.mark.parametrize(
    ("sparsity", "pattern", "block"), [(0.5, None, 128), (0.7, None, 32), (0.5, (2, 4), 128), (0.5, (4, 8), 64)]
)
def test_sparsegpt_is_the_loop_with_exact_inverses(sparsity, pattern, block):
    w, g, _ = first_rows()
    found, keep = sparsegpt(w, g, sparsity=sparsity, pattern=pattern, block=block)
    wanted, stay = loop(sparsity, pattern, block)
    assert torch.equal(keep, stay)
    assert float((found - wanted).abs().max()) < 1e-8 * float(w.abs().max())


def test_the_factor_is_that_of_the_inverse():
    _, x = layer(3)
    g = x.T @ x
    upper = columnwise._upper(g, torch.zeros(32, dtype=torch.bool), 0.0)
    assert torch.equal(upper, upper.triu())
    assert torch.allclose(upper.T @ upper, torch.linalg.inv(g), rtol=1e-8, atol=0)


def test_as_many_go_as_asked_with_ties_too_and_none_at_zero():
    w, x = layer(4)
    w = levels(w)
    for block in (4, 16, 128):
        for sparsity in (0.0, 0.1, 1 / 3, 0.5, 0.99):
            _, keep = sparsegpt(w, x.T @ x, sparsity=sparsity, block=block)
            assert int((~keep).sum()) == round(sparsity * w.numel())
    assert torch.equal(sparsegpt(w, x.T @ x, sparsity=0.0)[0], w)
    for pattern in ((4, 4), (8, 8)):
        assert torch.equal(sparsegpt(w, x.T @ x, pattern=pattern)[0], w)
    with pytest.raises(InputError, match=r"sparsity is 1\.0"):
        sparsegpt(w, x.T @ x, sparsity=1.0)


def test_later_masks_know_of_earlier_updates():
    """What goes from the second block is chosen after the first block's errors were added to it."""
    w, x = layer(5)
    _, both = sparsegpt(w, x.T @ x, sparsity=0.5, block=16)
    upper = columnwise._upper(x.T @ x, torch.zeros(32, dtype=torch.bool), 0.01 * float((x.T @ x).diagonal().mean()))
    second = (w[:, 16:] / upper.diagonal()[16:]).square()
    assert not torch.equal(both[:, 16:], select.everywhere({"": second}, 0.5)[""])


def test_fewer_samples_than_inputs_do_no_harm():
    w, x = layer(6, samples=8)
    g = x.T @ x
    for options in ({"sparsity": 0.5}, {"pattern": (2, 4)}):
        found, _ = sparsegpt(w, g, **options)
        assert found.isfinite().all()
        by_size = w * select.per_row({"": w.abs()}, 0.5)[""]
        assert output_error(found, w, g) < output_error(by_size, w, g)


def test_inputs_in_half_precision_do_not_overflow():
    net = nn.Sequential(nn.Linear(4, 2, bias=False)).half()
    x = torch.full((3, 4), 300.0, dtype=torch.float16)  # squares of 90,000, where float16 ends at 65,504
    sums = observe(net, [x], gram, input_square)["0"]
    assert sums[gram].eq(270_000).all()
    assert sums[input_square].eq(270_000).all()


@pytest.mark.parametrize(("row", "column"), [(299, 3), (3, 299), (280, 290)])
def test_one_number_that_is_not_symmetric_in_a_wide_matrix_is_noticed(row, column):
    w, x = layer(0, 4, 300)
    g = x.T @ x
    g[row, column] += 1e-3 * float(g.diagonal().max())
    with pytest.raises(InputError, match="it is not symmetric"):
        output_error(w, w, g)


@pytest.mark.parametrize("seed", range(8))
def test_errors_stand_in_their_order(seed):
    """The refit of a mask is at most that mask alone, SparseGPT is below magnitude, and refitting it helps again."""
    w, x = layer(seed)
    g = x.T @ x
    by_wanda = select.per_row({"": wanda(w, seen(x))}, 0.5)[""]
    found, keep = sparsegpt(w, g, sparsity=0.5, block=16)
    errors = {
        "magnitude": output_error(w * select.everywhere({"": w.abs()}, 0.5)[""], w, g),
        "wanda": output_error(w * by_wanda, w, g),
        "wanda, refitted": output_error(refit(w, g, keep=by_wanda)[0], w, g),
        "sparsegpt": output_error(found, w, g),
        "sparsegpt, refitted": output_error(refit(w, g, keep=keep)[0], w, g),
    }
    assert errors["sparsegpt, refitted"] <= errors["sparsegpt"] < errors["magnitude"]
    assert errors["wanda, refitted"] < errors["wanda"]


# -- OWL


def test_outliers_worked_out_by_hand():
    """The mean of 1, 1, 1, 9 and 18 is 6: 18 is above twice that, and 9 above once."""
    scores = [torch.tensor([1.0, 1, 1]), torch.tensor([[9.0, 18]])]
    assert share_of_outliers(scores, times=2) == 1 / 5
    assert share_of_outliers(scores, times=1) == 2 / 5
    assert share_of_outliers([torch.ones(4)], times=5) == 0


def test_ratios_worked_out_by_hand():
    """Stretched to 0, 1/4 and 1, times 0.16: densities of 0.3 in the mean differ by 0, 0.04 and 0.16."""
    found = by_outliers({"a": 0.01, "b": 0.02, "c": 0.05}, 0.7, reach=0.08)
    assert found == pytest.approx({"a": 0.7 + 0.2 / 3, "b": 0.7 + 0.08 / 3, "c": 0.7 - 0.28 / 3})
    assert sum(found.values()) / 3 == pytest.approx(0.7)
    assert by_outliers({"a": 0.02, "b": 0.02}, 0.6) == {"a": 0.6, "b": 0.6}
    sized = by_outliers({"a": 0.0, "b": 1.0}, 0.5, reach=0.1, sizes={"a": 300, "b": 100})
    assert sized == pytest.approx({"a": 0.55, "b": 0.35})
    assert (300 * sized["a"] + 100 * sized["b"]) / 400 == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: by_outliers({"a": 0.0, "b": 1.0}, 0.95, reach=0.08), "which must lie in"),
        (lambda: by_outliers({"a": 0.0, "b": 1.0}, 0.05, reach=0.08), "lower reach"),
        (lambda: by_outliers({}, 0.5), "reach is 0.08 for 0 shares"),
        (lambda: by_outliers({"a": 0.0}, 0.5, reach=-1.0), "reach is -1.0"),
        (lambda: share_of_outliers([]), "outliers of 0 scores"),
        (lambda: share_of_outliers([torch.ones(3)], times=0), "above 0 times"),
    ],
)
def test_what_cannot_be_said_of_outliers_is_refused(call, says):
    with pytest.raises(InputError, match=says):
        call()
