"""Compression: every definition worked by hand on six weights, the LeNet-300-100 example, and sums before quotients."""

import dataclasses
import math

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from sapwood.errors import InputError
from sapwood.measure.clock import Ratio
from sapwood.measure.sizes import compression


def linear(weight, bias):
    layer = nn.Linear(len(weight[0]), len(weight))
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight))
        layer.bias.copy_(torch.tensor(bias))
    return layer


SMALL = [[1.0, 0.0, 1.0], [0.0, 0.0, 3.0]], [0.0, 1.0]


def test_every_definition_worked_by_hand():
    found = compression(linear(*SMALL), torch.ones(1, 3), bits=1)
    assert found.prunable_sparsity == 3 / 6
    assert found.all_sparsity == 4 / 8
    assert found.nonzero_ratio == 8 / 4
    assert found.storage_ratio_bitmask == 8 * 32 / (8 + 4 * 32)
    assert found.storage_ratio_csr == 8 * 32 / (3 * (32 + 16) + 3 * 32 + 2 * 32)
    levels = 2 * math.log2(3 / 2) + math.log2(3)  # survivors 1, 1, 3 on two levels
    assert found.stored_bits_ratio == pytest.approx(8 * 32 / (6 + levels + 2 * 32 + 2 * 32), rel=1e-14)
    fine = compression(linear(*SMALL), torch.ones(1, 3), bits=5)  # 32 levels, of which two are in use
    assert fine.stored_bits_ratio == found.stored_bits_ratio
    assert (found.flops_dense_ratio, found.flops_sparse_ratio) == (1, 2)
    assert found.memory_ratio == 1
    assert found.measured is None


def test_the_width_of_an_entry_follows_the_dtype():
    found = compression(linear(*SMALL).double(), torch.ones(1, 3, dtype=torch.float64))
    assert found.storage_ratio_bitmask == 8 * 64 / (8 + 4 * 64)


def test_lenet_300_100_at_98_percent():
    model = nn.Sequential(nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10))
    kept = iter((3000, 1000, 578))  # with 410 biases: 4 988 of 266 610
    with torch.no_grad():
        for layer in model[::2]:
            layer.weight.fill_(1).flatten()[next(kept) :] = 0
            layer.bias.fill_(1)
    found = compression(model, torch.ones(1, 784))
    assert found.storage_ratio_bitmask == 266_610 * 32 / (266_610 + 32 * 4_988)
    assert found.storage_ratio_bitmask == pytest.approx(266_610 * 4 / (33_326 + 4 * 4_988), rel=1e-4)
    assert round(found.storage_ratio_bitmask, 1) == 20.0
    assert found.nonzero_ratio == 266_610 / 4_988
    assert found.prunable_sparsity == 1 - 4_578 / 266_200  # not the mean of 98.7, 96.7 and 42.2 %
    assert found.flops_sparse_ratio == 266_200 / 4_578


def test_entropy_is_never_above_the_plain_code_it_bounds():
    generator = torch.Generator().manual_seed(0)
    model = nn.Linear(100, 50, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.randn(50, 100, generator=generator) * (torch.rand(50, 100, generator=generator) < 0.1))
    for bits in (1, 3, 5, 8):
        found, nonzero = compression(model, torch.ones(1, 100), bits=bits), int(model.weight.count_nonzero())
        assert found.stored_bits_ratio > 5000 * 32 / (5000 + nonzero * bits + 2**bits * 32)


def test_column_indices_need_32_bits_beyond_65536_columns():
    for columns, index in ((65_536, 16), (65_537, 32)):
        model = nn.Linear(columns, 1, bias=False)
        with torch.no_grad():
            model.weight.zero_()[0, 5] = 1
        assert compression(model, torch.ones(1, columns)).storage_ratio_csr == columns * 32 / (32 + index + 64)


def test_prunable_names_parameters_of_any_kind():
    model = nn.Sequential(linear(*SMALL), nn.BatchNorm1d(2))
    found = compression(model, torch.ones(1, 3), prunable=["0.weight", "1.weight"])
    assert found.prunable_sparsity == 3 / 8
    assert found.storage_ratio_csr == 12 * 32 / (3 * 48 + 3 * 32 + 2 * 48 + 2 * 32 + 4 * 32)
    assert found.all_sparsity == 6 / 12  # the batch norm's two zero biases count


def test_a_compacted_network_is_compared_with_its_reference():
    reference = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))  # 12 + 4, 4 + 1
    small = nn.Sequential(linear(SMALL[0], [1.0, 1.0]), nn.ReLU(), linear([[2.0, 3.0]], [1.0]))  # 6 + 2, 2 + 1
    measured = Ratio(0.5, 0.4, 0.6, batch=1, threads=1)
    found = compression(small, torch.ones(1, 3), reference=reference, measured=measured)
    assert found.prunable_sparsity == 1 - 5 / 16
    assert found.all_sparsity == 1 - 8 / 21
    assert found.nonzero_ratio == 21 / 8
    assert found.storage_ratio_bitmask == 21 * 32 / (11 + 8 * 32)
    assert found.storage_ratio_csr == 21 * 32 / (3 * 48 + 3 * 32 + 2 * 48 + 2 * 32 + 3 * 32)
    assert (found.flops_dense_ratio, found.flops_sparse_ratio) == (16 / 8, 16 / 5)
    assert found.memory_ratio == 21 / 11
    assert found.measured is measured


def test_nothing_left_is_infinite_and_nan_free():
    model = linear([[0.0, 0.0]], [0.0])
    found = compression(model, torch.ones(1, 2))
    assert (found.prunable_sparsity, found.all_sparsity) == (1, 1)
    assert found.nonzero_ratio == found.flops_sparse_ratio == math.inf
    assert not any(math.isnan(value) for value in dataclasses.asdict(found).values() if value is not None)


def test_shared_weights_are_counted_once():
    first, second = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
    second.weight = first.weight
    with torch.no_grad():
        first.weight[0] = 0
    found = compression(nn.Sequential(first, second), torch.ones(1, 3))
    assert found.prunable_sparsity == found.all_sparsity == 1 - 6 / 9
    assert found.flops_sparse_ratio == 18 / 12  # but multiplied twice


def test_refusals():
    model, example = linear(*SMALL), torch.ones(1, 3)
    with pytest.raises(InputError, match="did you mean 'weight'"):
        compression(model, example, prunable=["wieght"])
    with pytest.raises(InputError, match="names no parameter"):
        compression(model, example, prunable=[])
    with pytest.raises(InputError, match="bits is 0"):
        compression(model, example, bits=0)
    with pytest.raises(InputError, match="'weight' holds NaN"):
        compression(linear([[float("nan")]], [0.0]), torch.ones(1, 1))
    with pytest.raises(InputError, match="computed, not a parameter"):
        compression(prune.l1_unstructured(model, "weight", 0.5), example)
