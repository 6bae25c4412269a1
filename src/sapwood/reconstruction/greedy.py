"""Greedy: ThiNet's choice of channels, one after another, and one scale for each that stays.

keep:    S = {}; add the unit that lowers |y - sum over S of w_c x_c|² most at its best scale; refit all w; again
remove:  T = {}; add to T the unit that keeps |sum over T of x_c|² smallest, until T is all that goes
both:    w = (X_Sᵀ X_S)⁻¹ X_Sᵀ y, one scale for each channel that stays, multiplied into its weights
"""

import torch
from torch import Tensor

from sapwood.errors import refuse_unless
from sapwood.reconstruction.normal import RIDGE, size_of, solved
from sapwood.reconstruction.units import Contributions, columns_of, contributions, staying

RULES = ("keep", "remove")


def thinet(
    w_OI: Tensor,
    gram_II: Tensor,
    cross_IO: Tensor | None = None,
    *,
    sparsity: float,
    unit_of_I: Tensor | None = None,
    rule: str = "keep",
    ridge: float = RIDGE,
) -> tuple[Tensor, Tensor]:
    """Without round(sparsity * units) of the layer's input units, those that stay scaled to make up for the others.

    unit_of_I: the unit of each column, as `unit_of_columns` gives it; without it each column is one. Returns w_OI, 0 in
    the columns that go, in its own type, and keep, bool [units]. Of equals the first is taken.

    *Paper:* Luo, Wu, Lin 2017, "ThiNet", arXiv 1707.06342 ("remove"), and its version in TPAMI 2018 ("keep").
    *Differs:* all outputs, places and samples count, through the Gram matrix, not a sample of them; the ridge.
    """
    refuse_unless("rule", rule, RULES)
    found = contributions(w_OI, gram_II, cross_IO, unit_of_I=unit_of_I)
    units = len(found.wanted_U)
    count, amount = staying(units, sparsity), size_of(found.gram_UU, ridge)
    chosen = _kept(found, count, amount) if rule == "keep" else _left(found.gram_UU, units - count)
    scale_U = _scales(found, chosen, amount)
    keep = torch.zeros(units, dtype=torch.bool, device=w_OI.device)
    keep[chosen] = True
    return _scaled(w_OI, scale_U, keep, unit_of_I), keep


def _kept(found: Contributions, count: int, ridge: float) -> list[int]:
    """Orthogonal matching pursuit, on the Gram matrix."""
    square_U, chosen = found.gram_UU.diagonal(), list[int]()
    scale_U = torch.zeros_like(found.wanted_U)
    while len(chosen) < count:
        gap_U = found.wanted_U - found.gram_UU @ scale_U
        gain_U = torch.where(square_U > 0, gap_U.square() / square_U.clamp(min=torch.finfo(square_U.dtype).tiny), 0)
        gain_U[chosen] = -1  # below any gain: what is chosen is not chosen again, what is dead comes last
        chosen.append(int(gain_U.argmax()))
        scale_U = _scales(found, sorted(chosen), ridge)
    return sorted(chosen)


def _left(gram_UU: Tensor, count: int) -> list[int]:
    """What is left when the units go whose sum stays smallest: |T + j|² = |T|² + 2 sum over T of G_tj + G_jj."""
    with_T, gone = torch.zeros(len(gram_UU), dtype=gram_UU.dtype, device=gram_UU.device), list[int]()
    for _ in range(count):
        grows_U = 2 * with_T + gram_UU.diagonal()
        grows_U[gone] = torch.inf
        gone.append(int(grows_U.argmin()))
        with_T = with_T + gram_UU[gone[-1]]
    return [unit for unit in range(len(gram_UU)) if unit not in set(gone)]


def _scales(found: Contributions, chosen: list[int], ridge: float) -> Tensor:
    """The best scale of each chosen unit, 0 of the others; 1 of each, exactly, if nothing is missing. [U]"""
    scale_U = torch.zeros_like(found.wanted_U)
    gram_SS = found.gram_UU[chosen][:, chosen]
    scale_U[chosen] = 1 + solved(gram_SS, found.gap(chosen)[chosen, None], ridge)[:, 0]
    return scale_U


def _scaled(w_OI: Tensor, scale_U: Tensor, keep: Tensor, unit_of_I: Tensor | None) -> Tensor:
    stay_I = columns_of(keep, unit_of_I)
    if unit_of_I is None:
        scale_I = scale_U
    else:
        unit = unit_of_I.to(w_OI.device)
        scale_I = torch.where(unit >= 0, scale_U[unit.clamp(min=0)], 1)
    return torch.where(stay_I, w_OI.detach().double() * scale_I, 0).to(w_OI.dtype)
