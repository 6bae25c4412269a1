"""Units: what each input unit of a layer, a channel with all its kernel places, adds to the layer's outputs.

x_c is what unit c adds to one output at one place. G_UU = sum x_c x_d over all outputs, places and samples follows from
the layer's weights and its Gram matrix: G_cd = sum over i of c, j of d of gram_ij * (w_Oi . w_Oj).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from sapwood.errors import InputError
from sapwood.reconstruction.normal import doubled


@dataclass(frozen=True)
class Contributions:
    """What the units add, and what they should add up to."""

    gram_UU: Tensor  # sum of x_c x_d
    wanted_U: Tensor  # sum of x_c y: y what is wanted, less the bias
    own: bool  # y is what all units together add up to

    def gap(self, chosen: list[int]) -> Tensor:
        """sum of x_c (y - what the chosen add up to): 0, exactly, if all are chosen and y is their own. [U]"""
        if not self.own:
            return self.wanted_U - self.gram_UU[:, chosen].sum(1)
        missing = torch.ones(len(self.wanted_U), dtype=torch.bool, device=self.wanted_U.device)
        missing[chosen] = False
        return self.gram_UU[:, missing].sum(1)


def contributions(
    w_OI: Tensor, gram_II: Tensor, cross_IO: Tensor | None = None, *, unit_of_I: Tensor | None = None
) -> Contributions:
    """G_UU and what is wanted, from the layer's weights and sums; see `unit_of_columns` for `unit_of_I`.

    Columns of unit -1 belong to no unit: they are as they are, and nothing is wanted of the units in their place.
    """
    w, gram, cross = doubled(w_OI, gram_II, cross_IO)
    onto_IU = _onto(w, unit_of_I)
    gram_UU = onto_IU.T @ ((w.T @ w) * gram) @ onto_IU
    if cross is None:
        return Contributions(gram_UU, gram_UU.sum(1), own=True)
    others = (onto_IU.sum(1) == 0).to(w)
    left = cross - gram @ (w * others).T
    return Contributions(gram_UU, onto_IU.T @ (w.T * left).sum(1), own=False)


def columns_of(keep_U: Tensor, unit_of_I: Tensor | None) -> Tensor:
    """bool [I]: the columns of units that stay, and those of no unit."""
    if unit_of_I is None:
        return keep_U
    unit = unit_of_I.to(keep_U.device)
    return keep_U[unit.clamp(min=0)] | (unit < 0)


def each_unit(inputs: int, unit_of_I: Tensor | None) -> list[Tensor]:
    """The columns of each unit, in the order of units; InputError where a unit has none."""
    unit = _checked(inputs, None if unit_of_I is None else unit_of_I.cpu())
    counts = torch.bincount(unit[unit >= 0])
    if not bool(counts.all()):
        raise InputError(f"unit_of_I gives unit {int(counts.argmin())} no column; number the units from 0 on")
    return list(torch.split(unit.argsort(stable=True)[int((unit < 0).sum()) :], counts.tolist()))


def staying(units: int, sparsity: float) -> int:
    """How many of so many are left at a sparsity; at least 1."""
    if isinstance(sparsity, bool) or not isinstance(sparsity, (int, float)) or not 0 <= sparsity < 1:
        raise InputError(f"sparsity is {sparsity!r}; it is the fraction removed and must lie in [0, 1)")
    return max(1, units - round(sparsity * units))


def _onto(w: Tensor, unit_of_I: Tensor | None) -> Tensor:
    """[I, U]: 1 where a column is a unit's."""
    inputs = w.shape[1]
    unit = _checked(inputs, unit_of_I)
    onto = torch.zeros(inputs, int(unit.max()) + 1, dtype=w.dtype, device=w.device)
    here = (unit >= 0).nonzero().flatten()
    onto[here, unit[here]] = 1
    return onto


def _checked(inputs: int, unit_of_I: Tensor | None) -> Tensor:
    """The unit of each column; without one each column is its own."""
    unit = torch.arange(inputs) if unit_of_I is None else unit_of_I
    if unit.dtype is not torch.int64 or unit.shape != (inputs,) or int(unit.max()) < 0 or int(unit.min()) < -1:
        raise InputError(
            f"unit_of_I is {unit.dtype} of shape {tuple(unit.shape)}; give the unit of each of the {inputs} columns, "
            "int64, -1 for none"
        )
    return unit
