"""SparseGPT: weights go column by column, and those to the right of them make up for it.

H = gram + λ I,  H⁻¹ = Uᵀ U;    lowest w²/U_jj² of a block go;    e = (w_j - ŵ_j) / U_jj,  W[:, j+1:] -= e U[j, j+1:]
"""

import torch
from torch import Tensor

from sapwood.errors import InputError
from sapwood.reconstruction.normal import doubled, ridged, size_of
from sapwood.reconstruction.units import staying
from sapwood.selection import select


def sparsegpt(
    w_OI: Tensor,
    gram_II: Tensor,
    *,
    sparsity: float = 0.5,
    pattern: tuple[int, int] | None = None,
    block: int = 128,
    ridge: float = 0.01,
) -> tuple[Tensor, Tensor]:
    """Without round(sparsity * weights) of the weights, or with the n best of every m columns: pattern=(n, m).

    The choice is made for `block` columns together, all rows in one ranking; of a pattern, in each row when its first
    column is reached. `ridge` is λ as a share of the mean diagonal of the Gram matrix. Returns w_OI, 0 where it is not
    kept, in its own type, and keep, bool [O, I].

    *Paper:* Frantar, Alistarh 2023, "SparseGPT", arXiv 2301.00774.
    *Differs:* in float64; exactly as many go as asked (their threshold takes one more in each block); inputs that are
    always 0 go first, and are not set to 0 where they stay.
    """
    w, gram, _ = doubled(w_OI, gram_II, None)
    w = w.clone()  # it may be the caller's
    _refuse_bad(w, pattern, block)
    staying(w.shape[1], sparsity)
    dead_I = gram.diagonal() == 0
    upper = _upper(gram, dead_I, size_of(gram, ridge))
    keep = torch.ones_like(w, dtype=torch.bool)
    for begin in range(0, w.shape[1], block):
        end = min(begin + block, w.shape[1])
        if pattern is None:
            gone = round(sparsity * len(w) * end) - round(sparsity * len(w) * begin)
            keep[:, begin:end] = select.drop({"": _scores(w, upper, dead_I, begin, end)}, gone)[""]
        errors = _swept(w, keep, upper, dead_I, range(begin, end), pattern)
        w[:, end:] -= errors @ upper[begin:end, end:]
    return torch.where(keep, w, 0).to(w_OI.dtype), keep


def _swept(
    w: Tensor, keep: Tensor, upper: Tensor, dead_I: Tensor, block: range, pattern: tuple[int, int] | None
) -> Tensor:
    """One block, column by column, in place; the errors that the columns behind it have still to make up for."""
    errors = torch.zeros(len(w), len(block), dtype=w.dtype, device=w.device)
    for j in block:
        if pattern is not None and j % pattern[1] == 0:
            scores = _scores(w, upper, dead_I, j, j + pattern[1])
            keep[:, j : j + pattern[1]] = select.n_of_m({"": scores}, *pattern)[""]
        error = torch.where(keep[:, j], 0, w[:, j]) / upper[j, j]
        w[:, j : block.stop] -= error[:, None] * upper[j, j : block.stop]
        errors[:, j - block.start] = error
    return errors


def _scores(w: Tensor, upper: Tensor, dead_I: Tensor, begin: int, end: int) -> Tensor:
    """What the error grows by without each weight, [O, columns]."""
    scores = (w[:, begin:end] / upper.diagonal()[begin:end]).square()
    return torch.where(dead_I[begin:end], 0, scores)


def _upper(gram: Tensor, dead_I: Tensor, ridge: float) -> Tensor:
    """U, upper triangular, UᵀU the inverse of the Gram matrix with a ridge; 1 for inputs that are always 0."""
    alive = gram + torch.diag(dead_I.to(gram))
    while True:
        factor, failed = torch.linalg.cholesky_ex(ridged(alive, ridge))
        if not int(failed):
            upper: Tensor = torch.linalg.cholesky(torch.cholesky_inverse(factor), upper=True)
            return upper
        ridge = max(10 * ridge, size_of(gram, 1e-12))


def _refuse_bad(w: Tensor, pattern: tuple[int, int] | None, block: int) -> None:
    if type(block) is not int or block < 1:
        raise InputError(f"block is {block!r}; give how many columns are chosen from together, at least 1")
    if pattern is None:
        return
    n, m = pattern
    if not 1 <= n <= m or w.shape[1] % m or block % m:
        raise InputError(
            f"pattern is {n} of {m} for {w.shape[1]} columns in blocks of {block}; n must lie in 1..m, and m must "
            "divide both"
        )
