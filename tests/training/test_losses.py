"""Losses: hand-worked values, gradients against finite differences, and what the gradient does to singular values."""

import math

import pytest
import torch
from torch.autograd import gradcheck

from sapwood.errors import InputError
from sapwood.measure.ranks import nuclear_norm as measured_nuclear_norm
from sapwood.measure.ranks import singular_values
from sapwood.training.losses import distil, l1, nuclear_norm, weighted_nuclear_norm


def matrix(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slope(loss, *tensors):
    leaves = [t.clone().requires_grad_() for t in tensors]
    return torch.autograd.grad(loss(*leaves), leaves)


def test_distil_worked_by_hand():
    temperature, weight = 2.0, 0.75
    student = torch.zeros(1, 2, dtype=torch.float64)
    teacher = torch.tensor([[temperature * math.log(3), 0.0]], dtype=torch.float64)  # softened: 3/4, 1/4
    kl = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    expected = (1 - weight) * math.log(2) + weight * temperature**2 * kl
    assert float(distil(student, teacher, torch.tensor([1]), temperature, weight)) == pytest.approx(expected, rel=1e-14)


def test_distil_is_a_mean_over_the_batch():
    student, teacher, labels = matrix(6, 4), matrix(6, 4, seed=1), torch.tensor([0, 1, 2, 3, 0, 1])
    singles = [distil(student[i : i + 1], teacher[i : i + 1], labels[i : i + 1]) for i in range(6)]
    torch.testing.assert_close(distil(student, teacher, labels), torch.stack(singles).mean(), rtol=1e-13, atol=0)


def test_distil_at_its_ends():
    student, teacher, labels = matrix(5, 3), matrix(5, 3, seed=1), torch.tensor([0, 1, 2, 0, 1])
    hard = torch.nn.functional.cross_entropy(student, labels)
    assert float(distil(student, teacher, labels, weight=0.0)) == float(hard)
    assert float(distil(student, student + 5, labels, weight=1.0)) == pytest.approx(0, abs=1e-14)
    assert float(distil(student, teacher, labels, weight=1.0)) > 0


def test_distil_slope_for_the_student_and_none_for_the_teacher():
    student, teacher, labels = matrix(4, 3).requires_grad_(), matrix(4, 3, seed=1), torch.tensor([2, 1, 0, 1])
    assert gradcheck(lambda s: distil(s, teacher, labels, 3.0, 0.6), (student,))
    teacher.requires_grad_()
    distil(student, teacher, labels).backward()
    assert teacher.grad is None


def test_l1():
    first, second = torch.tensor([1.0, -2.0, 0.0]), torch.tensor([[4.0]])
    assert float(l1([first, second])) == 7.0
    assert [g.tolist() for g in slope(lambda a, b: l1([a, b]), first, second)] == [[1.0, -1.0, 0.0], [[1.0]]]
    assert gradcheck(lambda a, b: l1([a, b]), (matrix(3).requires_grad_(), matrix(2, 2).requires_grad_()))


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4), (4, 2, 3), (3, 2, 2, 2)])
def test_nuclear_norm_value_and_slope(shape):
    w = matrix(*shape)
    assert float(nuclear_norm(w)) == pytest.approx(measured_nuclear_norm(w), rel=1e-13)
    assert gradcheck(nuclear_norm, (w.requires_grad_(),))


def test_nuclear_norm_is_unitarily_invariant():
    w, left, right = matrix(6, 4), torch.linalg.qr(matrix(6, 6)).Q, torch.linalg.qr(matrix(4, 4)).Q
    torch.testing.assert_close(nuclear_norm(left @ w @ right), nuclear_norm(w), rtol=1e-13, atol=0)


def test_a_step_down_the_nuclear_norm_lowers_every_singular_value_alike():
    w = matrix(6, 4)
    (gradient,) = slope(nuclear_norm, w)
    torch.testing.assert_close(singular_values(w - 0.1 * gradient), singular_values(w) - 0.1, rtol=0, atol=1e-13)


def test_pruned_neurons_get_no_slope():
    w = matrix(6, 9)
    w[1] = 0
    w[:, 4] = 0
    for loss in (nuclear_norm, lambda w: weighted_nuclear_norm(w, torch.arange(1.0, 7.0))):
        (gradient,) = slope(loss, w)
        assert float(gradient[1].abs().max()) < 1e-14
        assert float(gradient[:, 4].abs().max()) < 1e-14
        assert float(gradient.norm()) > 1
    (gradient,) = slope(nuclear_norm, torch.zeros(3, 2))
    assert torch.equal(gradient, torch.zeros(3, 2))


def test_weighted_nuclear_norm():
    w = torch.diag(torch.tensor([1.0, 3.0], dtype=torch.float64))
    assert float(weighted_nuclear_norm(w, torch.tensor([1.0, 2.0]))) == pytest.approx(3 * 1 + 1 * 2, rel=1e-14)
    w, weights = matrix(5, 3), torch.tensor([0.5, 0.0, 4.0])
    assert gradcheck(lambda w: weighted_nuclear_norm(w, weights), (w.clone().requires_grad_(),))
    assert float(weighted_nuclear_norm(w, torch.ones(3))) == float(nuclear_norm(w))


def test_refusals():
    logits, labels = torch.zeros(2, 3), torch.tensor([0, 1])
    with pytest.raises(InputError, match=r"teacher logits \(2, 4\)"):
        distil(logits, torch.zeros(2, 4), labels)
    with pytest.raises(InputError, match=r"temperature 0\.0"):
        distil(logits, logits, labels, temperature=0.0)
    with pytest.raises(InputError, match=r"weight 1\.5"):
        distil(logits, logits, labels, weight=1.5)
    with pytest.raises(InputError, match="no tensors"):
        l1([])
    with pytest.raises(InputError, match="there are 2 singular values"):
        weighted_nuclear_norm(torch.eye(2), torch.ones(3))
    with pytest.raises(InputError, match=r"shape \(3,\)"):
        nuclear_norm(torch.ones(3))
    with pytest.raises(InputError, match="NaN or infinite"):
        nuclear_norm(torch.full((2, 2), float("nan")))
