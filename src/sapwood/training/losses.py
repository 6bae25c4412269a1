"""Losses: terms added to a task's loss, to learn from a teacher or to be drawn towards sparse or low-rank weights."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional as F

from sapwood.errors import InputError


def distil(
    student_logits: Tensor, teacher_logits: Tensor, targets: Tensor, temperature: float = 4.0, weight: float = 0.9
) -> Tensor:
    """(1 - a) CE(student, targets) + a T² KL(softmax(teacher / T) ‖ softmax(student / T)), mean over the batch.

    a = `weight`, T = `temperature`; logits [B, C], labels [B]. No gradient reaches the teacher.
    *Paper:* Hinton, Vinyals & Dean 2015, arXiv:1503.02531, section 2: T² keeps the soft term's gradient from shrinking.
    *Differs:* KL instead of cross-entropy with the teacher; they differ by the teacher's entropy, so not in gradient.
    """
    _refuse_bad_distillation(student_logits, teacher_logits, temperature, weight)
    hard = F.cross_entropy(student_logits, targets)
    soft = F.kl_div(
        F.log_softmax(student_logits / temperature, 1),
        F.log_softmax(teacher_logits.detach() / temperature, 1),
        reduction="batchmean",
        log_target=True,
    )
    return (1 - weight) * hard + weight * temperature**2 * soft


def l1(tensors: Iterable[Tensor]) -> Tensor:
    """Σ |w| over all entries of all tensors; its gradient is sign(w), 0 at 0.

    *Paper:* Tibshirani 1996, the lasso; on batch-norm scales: Liu et al. 2017, arXiv:1708.06519, equation 1.
    """
    sums = [tensor.abs().sum() for tensor in tensors]
    if not sums:
        raise InputError("l1() was given no tensors, so nothing would be penalised; give at least one")
    return torch.stack(sums).sum()


def nuclear_norm(w: Tensor) -> Tensor:
    """Σ σ_i, the sum of the singular values of w_OI: the convex stand-in for rank.

    The gradient is U Vᵀ over the non-zero σ_i only, the smallest of all subgradients: rows and columns that are all 0
    (pruned neurons) get none. σ_i up to σ_1 * max(O, I) * eps count as 0. First derivative only.
    *Paper:* Fazel 2002, "Matrix rank minimization with applications", section 5.1.
    """
    return _weighted_sum(w, None)


def weighted_nuclear_norm(w: Tensor, weights: Tensor) -> Tensor:
    """Σ a_i σ_i with a_i = weights[i] for the i-th largest singular value; weights [min(O, I)].

    The gradient is U diag(a) Vᵀ, as in `nuclear_norm`. With growing a_i, small σ_i are pushed hardest.
    *Paper:* Gu, Zhang, Zuo & Feng 2014, "Weighted nuclear norm minimization with application to image denoising".
    """
    return _weighted_sum(w, weights)


def _weighted_sum(w: Tensor, weights: Tensor | None) -> Tensor:
    """⟨U diag(a) Vᵀ, W⟩ with U, V held fixed: its value is Σ a_i σ_i and its gradient the first factor."""
    _refuse_bad_matrix(w)
    w_OI = w.flatten(1)
    with torch.no_grad():
        u, sigma, vt = torch.linalg.svd(w_OI, full_matrices=False)
        a = torch.ones_like(sigma) if weights is None else _as_many(weights, sigma)
        a = a * (sigma > sigma[0] * max(w_OI.shape) * torch.finfo(w.dtype).eps)
        slope: Tensor = (u * a) @ vt
    return (slope * w_OI).sum()


def _as_many(weights: Tensor, sigma: Tensor) -> Tensor:
    if weights.shape != sigma.shape:
        raise InputError(
            f"weights have shape {tuple(weights.shape)}, but there are {len(sigma)} singular values; "
            "give one weight for each"
        )
    return weights.to(sigma)


def _refuse_bad_matrix(w: Tensor) -> None:
    if w.ndim < 2 or w.numel() == 0:
        raise InputError(f"weight of shape {tuple(w.shape)} has no singular values; give [outputs, inputs, ...]")
    if not bool(torch.isfinite(w).all()):
        raise InputError(f"weight of shape {tuple(w.shape)} holds NaN or infinite values; training has diverged")


def _refuse_bad_distillation(student: Tensor, teacher: Tensor, temperature: float, weight: float) -> None:
    if student.shape != teacher.shape or student.ndim != 2:
        raise InputError(
            f"student logits have shape {tuple(student.shape)}, teacher logits {tuple(teacher.shape)}; "
            "both must be [samples, classes]"
        )
    if not temperature > 0 or not 0 <= weight <= 1:
        raise InputError(f"temperature {temperature} must be above 0, and weight {weight} within 0..1")
