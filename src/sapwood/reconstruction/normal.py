"""Normal equations: least squares from sums over samples, by Cholesky with a ridge, in float64.

A layer gives y = w x. With gram_II = sum x xᵀ and cross_IO = sum x yᵀ its error on all samples is known without them:

    E(w) = sum |w x - y|² = tr(w gram wᵀ) - 2 tr(w cross) + sum |y|²,      half its gradient: w gram - crossᵀ

The ridge draws towards the weights that are there, not towards 0: where the samples do not say, nothing moves.
`torch.linalg.lstsq` is not used: on nearly dependent inputs its answer is another one with other numbers of threads.
"""

import torch
from torch import Tensor

from sapwood.errors import InputError

RIDGE = 1e-9  # what is added to the diagonal, as a share of its mean


def solved(gram_II: Tensor, right_IO: Tensor, ridge: float, *, again: int = 0) -> Tensor:
    """(gram + ridge * I)⁻¹ right, [I, O]. The ridge grows tenfold until the factors exist.

    `again`: how often what gram * found is short of right is solved for too. Where the samples say something, the
    ridge's share in the answer is gone after one; where they do not, nothing moves all the same.
    """
    while True:
        factor, failed = torch.linalg.cholesky_ex(ridged(gram_II, ridge))
        if not int(failed):
            break
        ridge *= 10
    found = torch.cholesky_solve(right_IO, factor)
    for _ in range(again):
        found = found + torch.cholesky_solve(right_IO - gram_II @ found, factor)
    return found


def ridged(gram_II: Tensor, ridge: float) -> Tensor:
    """The Gram matrix with `ridge` added to its diagonal."""
    return gram_II + ridge * torch.eye(len(gram_II), dtype=gram_II.dtype, device=gram_II.device)


def size_of(gram_II: Tensor, share: float) -> float:
    """The ridge that is this share of the diagonal's mean; of a Gram matrix of zeros, the share itself."""
    mean = float(gram_II.diagonal().mean()) if len(gram_II) else 0.0
    return share * (mean if mean > 0 else 1.0)


def output_error(w_OI: Tensor, original_OI: Tensor, gram_II: Tensor) -> float:
    """|w x - original x|² summed over samples, relative to |original x|²; 0 where both are 0."""
    original, gram, _ = doubled(original_OI, gram_II, None)
    gap = original - doubled(w_OI, gram_II, None)[0]
    lost, whole = float((gap @ gram * gap).sum()), float((original @ gram * original).sum())
    return lost / whole if lost else 0.0


def doubled(w_OI: Tensor, gram_II: Tensor, cross_IO: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """The weights and the sums in float64, on the weights' device. InputError where they do not belong together."""
    if w_OI.dim() != 2 or 0 in w_OI.shape:
        raise InputError(f"w_OI has shape {tuple(w_OI.shape)}; give a matrix of one row per output (layout.matrix)")
    outputs, inputs = w_OI.shape
    for name, given, shape in (("gram_II", gram_II, (inputs, inputs)), ("cross_IO", cross_IO, (inputs, outputs))):
        if given is not None and tuple(given.shape) != shape:
            raise InputError(
                f"{name} has shape {tuple(given.shape)}; for weights of shape {outputs, inputs} give {shape}"
            )
    for name, given in (("w_OI", w_OI), ("gram_II", gram_II), ("cross_IO", cross_IO)):
        if given is not None and not bool(torch.isfinite(given).all()):
            raise InputError(f"{name} holds NaN or infinite values; check the network and its data")
    gram = gram_II.detach().to(w_OI.device, torch.float64)
    largest = float(gram.diagonal().max())
    if float(gram.diagonal().min()) < 0 or not _is_symmetric(gram, 1e-9 * largest):
        raise InputError("gram_II is no sum of x xᵀ: it is not symmetric, or a square on its diagonal is below 0")
    cross = None if cross_IO is None else cross_IO.detach().to(gram)
    return w_OI.detach().double(), gram, cross


def _is_symmetric(gram: Tensor, atol: float) -> bool:
    """Whether it is, to 1e-6; looked at in parts, since comparing all at once takes four times its memory."""
    return all(
        torch.allclose(gram[at : at + 256], gram[:, at : at + 256].T, rtol=1e-6, atol=atol)
        for at in range(0, len(gram), 256)
    )
