"""Masks: set algebra, sparsity, application."""

import pytest
import torch

from sapwood import masks
from sapwood.errors import InputError

A = {"w": torch.tensor([[True, False], [True, True]]), "v": torch.tensor([True, False])}
B = {"w": torch.tensor([[True, True], [False, True]])}


def test_sparsity_is_the_removed_fraction_of_all_entries_not_the_mean_over_tensors():
    assert masks.sparsity(A) == pytest.approx(2 / 6)
    assert masks.sparsity({}) == 0


def test_intersection_keeps_what_both_keep_and_names_that_one_has():
    both = masks.intersect(A, B)
    assert both["w"].tolist() == [[True, False], [False, True]]
    assert both["v"].tolist() == [True, False]
    assert masks.intersect(B, A)["v"].tolist() == [True, False]


def test_nested_means_nothing_came_back():
    assert masks.nested(A, masks.intersect(A, B))
    assert not masks.nested(masks.intersect(A, B), A)


def test_zeros_counts_exact_zeros():
    assert masks.zeros({"a": torch.tensor([0.0, -0.0, 1e-30, 2.0]), "b": torch.zeros(3)}) == 5


def test_apply_writes_zeros_over_nan_too():
    weights = {"w": torch.tensor([[1.0, float("nan")], [2.0, 3.0]])}
    masks.apply_(weights, {"w": A["w"]})
    assert weights["w"].tolist() == [[1, 0], [2, 3]]


@pytest.mark.parametrize(
    ("mask", "says"),
    [
        ({"x": A["w"]}, "unknown parameter in masks 'x'"),
        ({"w": A["w"].float()}, "float32"),
        ({"w": A["v"]}, r"shape \(2,\)"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused_and_nothing_changes(mask, says):
    weights = {"w": torch.ones(2, 2)}
    with pytest.raises(InputError, match=says):
        masks.apply_(weights, mask)
    assert weights["w"].sum() == 4


@pytest.mark.parametrize("shape", [(6,), (4, 6), (4, 3, 2, 2), (1, 6)])
@pytest.mark.parametrize("dims", [(), (0,), (1,), (0, 1), (1, 2, 3)], ids=str)
def test_a_thin_mask_broadcasts_to_the_whole_one(shape, dims):
    """One entry along every dimension in which the mask says the same throughout."""
    dims = [dim for dim in dims if dim < len(shape)]
    one = [1 if dim in dims else size for dim, size in enumerate(shape)]
    keep = (torch.arange(torch.tensor(one).prod()) % 5 < 2).view(one).expand(shape).clone()
    thin = masks.thin(keep)
    assert torch.equal(thin.expand_as(keep), keep)
    assert all(thin.shape[dim] == 1 for dim in dims)


def test_a_mask_without_a_pattern_stays_as_it_is():
    keep = torch.eye(4, dtype=torch.bool)
    assert torch.equal(masks.thin(keep), keep)
    assert masks.thin(torch.ones(4, 4, dtype=torch.bool)).numel() == 1
