"""Spectrum: diagonal matrices by hand, laws under rotation, scaling and pruning, NumPy's rank, zeros without NaN."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from sapwood.errors import InputError
from sapwood.measure.ranks import (
    effective_rank,
    live_columns,
    nuclear_norm,
    rank,
    singular_values,
    spectrum,
    stable_rank,
)

MEASURES = (rank, stable_rank, effective_rank, nuclear_norm)


def matrix(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rotation(n, seed=0):
    return torch.linalg.qr(matrix(n, n, seed=seed)).Q


def test_diagonal_worked_by_hand():
    w = torch.diag(torch.tensor([3.0, 0.0, -4.0]))
    assert singular_values(w).tolist() == [4.0, 3.0, 0.0]
    assert singular_values(w).dtype is torch.float64
    assert rank(w) == 2
    assert nuclear_norm(w) == 7.0
    assert stable_rank(w) == 25 / 16
    entropy = -(4 / 7 * math.log(4 / 7) + 3 / 7 * math.log(3 / 7))
    assert effective_rank(w) == pytest.approx(math.exp(entropy), rel=1e-14)
    assert live_columns(w) == 2


def test_flat_spectrum_has_all_ranks_equal():
    for measure in (rank, stable_rank, effective_rank, nuclear_norm):
        assert measure(torch.eye(5, 8)) == pytest.approx(5, rel=1e-14)


@pytest.mark.parametrize("measure", MEASURES)
def test_unitary_invariance_and_transposition(measure):
    w = matrix(12, 5) @ matrix(5, 9, seed=1)
    assert measure(rotation(12) @ w @ rotation(9)) == pytest.approx(measure(w), rel=1e-12)
    assert measure(w.T) == pytest.approx(measure(w), rel=1e-12)


@pytest.mark.parametrize("scale", [1e-200, 0.25, -3.0, 1e200])
def test_scaling(scale):
    w = matrix(12, 5) @ matrix(5, 9, seed=1)
    for measure in (rank, stable_rank, effective_rank):
        assert measure(scale * w) == pytest.approx(measure(w), rel=1e-9)
    assert nuclear_norm(scale * w) == pytest.approx(abs(scale) * nuclear_norm(w), rel=1e-12)


def test_order_of_the_ranks():
    w = matrix(20, 10)
    assert 1 <= stable_rank(w) <= effective_rank(w) <= rank(w) == 10


def test_zero_matrix_has_rank_zero_and_no_nan():
    w = torch.zeros(4, 3)
    assert [measure(w) for measure in MEASURES] == [0, 0.0, 0.0, 0.0]
    assert rank(w, 0.01) == live_columns(w) == 0


def test_zeroing_neurons_lowers_every_singular_value_and_rank_counts_live_neurons():
    w = matrix(30, 80).float()
    pruned = w * (torch.arange(30) % 3 == 0)[:, None]
    assert bool((singular_values(pruned) <= singular_values(w) + 1e-12).all())
    assert rank(pruned) == live_columns(pruned) == 10


@pytest.mark.parametrize("inner", [1, 7, 40])
def test_rank_is_numpys_on_float32(inner):
    w = (matrix(300, inner) @ matrix(inner, 84, seed=1)).float()
    assert rank(w) == int(np.linalg.matrix_rank(w.numpy())) == inner


@pytest.mark.parametrize(("share", "expected"), [(2.0, 1), (2.1, 2), (1.9, 1)])
def test_the_tolerance_is_strict_and_uses_the_longer_side(share, expected):
    w = torch.diag(torch.tensor([1.0, share * 2.0**-23]))  # tolerance 1 * 2 * 2^-23
    assert rank(w) == int(np.linalg.matrix_rank(w.numpy())) == expected
    longer = torch.cat([w, torch.zeros(1, 2)])
    assert rank(longer) == int(np.linalg.matrix_rank(longer.numpy())) == 1


def test_relative_tolerance():
    w = torch.diag(torch.tensor([10.0, 1.0, 0.1, 0.01]).double())
    assert [rank(w, t) for t in (0, 0.005, 0.05, 0.5)] == [4, 3, 2, 1]


def test_convolutions_are_flattened_to_one_row_per_filter():
    w = matrix(6, 3, 2, 2)
    assert torch.equal(singular_values(w), singular_values(w.reshape(6, 12)))
    w[1] = 0
    assert live_columns(w) == 5


def test_spectrum_gives_every_measure_of_every_layer():
    model = nn.Sequential(nn.Conv1d(3, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(12, 5)).double()
    with torch.no_grad():
        model[3].weight[:2] = 0
    conv, linear = spectrum(model)
    assert (conv.layer, conv.outputs, conv.inputs) == ("0", 4, 6)
    w = model[3].weight
    assert (linear.rank, linear.live_columns, linear.rank_at_1_percent) == (3, 3, rank(w, 0.01))
    assert linear.singular_values == tuple(singular_values(w).tolist())
    assert linear.stable_rank == stable_rank(w)
    assert linear.effective_rank == effective_rank(w)
    assert linear.nuclear_norm == nuclear_norm(w)
    assert spectrum(model, ["3"]) == (linear,)
    assert spectrum(model, tolerance=0.9)[1].rank == rank(w, 0.9)


def test_spectrum_decomposes_each_layer_once(monkeypatch):
    calls, decompose = [], torch.linalg.svdvals
    monkeypatch.setattr(torch.linalg, "svdvals", lambda w: calls.append(w) or decompose(w))
    spectrum(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)))
    assert len(calls) == 2


def test_refusals():
    with pytest.raises(InputError, match="NaN or infinite"):
        rank(torch.tensor([[1.0, float("nan")]]))
    with pytest.raises(InputError, match=r"shape \(3,\)"):
        nuclear_norm(torch.ones(3))
    with pytest.raises(InputError, match="tolerance is 1"):
        rank(torch.eye(2), 1.0)
    with pytest.raises(InputError, match="numpy float32"):
        rank(torch.eye(2), "numpy")
    with pytest.raises(InputError, match="unknown layer 'fc'"):
        spectrum(nn.Sequential(nn.Linear(2, 2)), ["fc"])
