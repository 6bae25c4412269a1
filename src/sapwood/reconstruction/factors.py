"""Low rank: the nearest matrix of a given rank, the same as two factors, and the step that shrinks singular values.

w_OI is a weight as a matrix, one row per neuron; U diag(σ) Vᵀ is its decomposition, σ_1 >= σ_2 >= ... >= 0.
"""

from typing import Any

import torch
from torch import Tensor, nn

from sapwood import processes
from sapwood.errors import InputError
from sapwood.scoring.layout import Layer


def truncated(w_OI: Tensor, rank: int, *, centred: bool = False) -> Tensor:
    """U_k diag(σ_1..σ_k) V_kᵀ, k = `rank`: no matrix of that rank is nearer to w in the Frobenius norm.

    `centred`: principal components of the neurons' weights, w's columns being the samples: with μ_O the mean of each
    row, μ 1ᵀ + truncated(w - μ 1ᵀ), whose rank is k + 1 at most. Decomposed in float64, [O, I] in w's own precision.
    *Paper:* Eckart & Young 1936; centred: Ganguli & Chong 2024, tables 11-13, Ŵ = 1μᵀ + (W - 1μᵀ) V_k V_kᵀ with their
    kernels W [inputs, neurons], which are wᵀ.
    *Differs:* exact, where the authors' library takes a randomised decomposition for large layers.
    """
    _refuse_bad_rank(w_OI, rank)
    w = w_OI.detach().double()
    mean_O1 = w.mean(1, keepdim=True) if centred else w.new_zeros(len(w), 1)
    left, right = _split(w - mean_O1, rank)
    return (mean_O1 + left @ right).to(w_OI.dtype)


def factors(w_OI: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """left_OK = U_k diag(√σ), right_KI = diag(√σ) V_kᵀ: their product is `truncated(w_OI, rank)`.

    Splitting σ evenly gives the two the same norm, the smallest sum of squares among all pairs with this product.
    """
    left_OK, right_KI = _split(w_OI, rank)
    return left_OK.to(w_OI.dtype), right_KI.to(w_OI.dtype)


def decomposed(w_OI: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """U_k [O, k], σ_1..σ_k, V_kᵀ [k, I], k = `rank`, in float64: U_k diag(σ) V_kᵀ is `truncated(w_OI, rank)`."""
    _refuse_bad_rank(w_OI, rank)
    u, sigma, vt = torch.linalg.svd(w_OI.detach().double(), full_matrices=False)
    return u[:, :rank], sigma[:rank], vt[:rank]


class Factored(nn.Sequential):
    """Two linear layers in place of one: w = left @ right."""


def factored(name: str, layer: Layer, rank: int, *, centred: bool = False) -> Factored:
    """Two layers that do what `truncated` of the layer's weight does; centred, of one rank more, for the mean."""
    if not isinstance(layer, nn.Linear):
        raise InputError(f"layer {name!r} is a {type(layer).__name__}, which is not trained in factors; give epochs=0")
    w = truncated(layer.weight, rank, centred=centred)
    left, right = factors(w, min(rank + centred, *w.shape))
    first, second = (nn.Linear(part.shape[1], part.shape[0], bias=False, device="meta") for part in (right, left))
    first.weight, second.weight, second.bias = nn.Parameter(right), nn.Parameter(left), layer.bias
    return Factored(first, second)


def rates(model: nn.Module, lr: float) -> list[dict[str, Any]]:
    """Parameter groups for an optimiser: the weights of a `Factored` learn at lr / 2 σ_1 each, the rest at lr.

    Where two factors share σ evenly, a step of gradient g moves their product by -lr (l lᵀ g + g rᵀ r), up to 2 σ_1
    times as far as it would move an undivided weight: at lr itself such a network diverges within ten steps.
    """
    pairs = [list(module.parameters())[:2] for module in model.modules() if isinstance(module, Factored)]
    slow = [{"params": [right, left], "lr": lr / (2 * _top(right) ** 2)} for right, left in pairs]
    mine = {id(w) for pair in pairs for w in pair}
    return [*slow, {"params": [w for w in model.parameters() if id(w) not in mine], "lr": lr}]


def _top(w: Tensor) -> float:
    """The largest singular value; of a factor it is the root of the product's."""
    return max(float(torch.linalg.svdvals(w.detach())[0]), torch.finfo(w.dtype).tiny)


def shrunk(w_OI: Tensor, by: Tensor | float) -> Tensor:
    """U diag(max(σ - by, 0)) Vᵀ = argmin_X ½ ‖X - w‖_F² + Σ by_i σ_i(X): a proximal step of the nuclear norm.

    `by` is 0 or more: one number, or one for each σ_i, largest σ first [min(O, I)]. It is the minimum only where `by`
    does not fall from one to the next, as c / (σ_i + ε) never does; with falling weights it is merely this formula.
    Decomposed in w's precision, float32 at least.
    *Paper:* Cai, Candès & Shen 2010, "A singular value thresholding algorithm for matrix completion", theorem 2.1;
    weighted: Gu, Zhang, Zuo & Feng 2014, "Weighted nuclear norm minimization with application to image denoising".
    """
    _refuse_bad_matrix(w_OI)
    precision = torch.promote_types(w_OI.dtype, torch.float32)
    u, sigma, vt = torch.linalg.svd(w_OI.detach().to(precision), full_matrices=False)
    left: Tensor = (sigma - _thresholds(by, sigma)).clamp(min=0)
    nearer: Tensor = (u * left) @ vt
    return nearer.to(w_OI.dtype)


def _split(w_OI: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    u, sigma, vt = decomposed(w_OI, rank)
    root = sigma.sqrt()
    return u * root, root[:, None] * vt


def _thresholds(by: Tensor | float, sigma: Tensor) -> Tensor:
    each = torch.as_tensor(by, dtype=sigma.dtype, device=sigma.device)
    if each.ndim and each.shape != sigma.shape:
        raise InputError(
            f"by has shape {tuple(each.shape)}, but there are {len(sigma)} singular values; "
            "give one number for all or one for each"
        )
    if not bool((each >= 0).all()):
        raise InputError(f"singular values would be shrunk by {float(each.min())}; give numbers of 0 or more")
    return each


def _refuse_bad_rank(w_OI: Tensor, rank: int) -> None:
    processes.refuse_sharded(w_OI, "take its weights apart")
    _refuse_bad_matrix(w_OI)
    if type(rank) is not int or not 1 <= rank <= min(w_OI.shape):
        raise InputError(
            f"rank is {rank!r} for a weight of shape {tuple(w_OI.shape)}; give a whole number in 1..{min(w_OI.shape)}"
        )


def _refuse_bad_matrix(w_OI: Tensor) -> None:
    if w_OI.ndim != 2 or w_OI.numel() == 0:
        raise InputError(f"weight of shape {tuple(w_OI.shape)} is not a matrix; give [outputs, inputs]")
    if not bool(torch.isfinite(w_OI).all()):
        raise InputError(f"weight of shape {tuple(w_OI.shape)} holds NaN or infinite values; training has diverged")
