"""Surgery: input units of a layer go one after another, each time the one that the others make up for best.

H = gram + λ I;    loss_u = tr(W_u ([H⁻¹]_uu)⁻¹ W_uᵀ), the lowest goes, and with F = ([H⁻¹]_uu)⁻¹ [H⁻¹]_u:

    W <- W - W_u F,    H⁻¹ <- H⁻¹ - [H⁻¹]_:u F
"""

import torch
from torch import Tensor

from sapwood.errors import InputError
from sapwood.reconstruction.normal import doubled, ridged, size_of
from sapwood.reconstruction.refitting import refit
from sapwood.reconstruction.units import columns_of, each_unit, staying


def surgeon(
    w_OI: Tensor,
    gram_II: Tensor,
    *,
    sparsity: float,
    unit_of_I: Tensor | None = None,
    at_once: int = 1,
    ridge: float = 0.01,
) -> tuple[Tensor, Tensor]:
    """Without round(sparsity * units) of the layer's input units; the weights that stay are those of least squares.

    unit_of_I: the unit of each column, as `unit_of_columns` gives it, -1 for none; without it each column is one.
    `at_once` units go before the losses are looked at again. `ridge` is λ as a share of the mean diagonal of the Gram
    matrix; it counts for the choice only. Returns w_OI, 0 in the columns that go, in its own type, and keep, bool
    [units]. Of equals the first stays. Cost: inputs³, and inputs² for each unit that goes.

    *Paper:* Hassibi, Stork 1993, "Optimal Brain Surgeon"; of structures: Kurtic, Frantar, Alistarh 2023, "ZipLM", arXiv
    2302.04089, equations 2 and 3.
    *Differs:* in float64; what stays is solved for once more at the end, without the ridge.
    """
    w, gram, _ = doubled(w_OI, gram_II, None)
    columns = each_unit(len(gram), unit_of_I)
    if type(at_once) is not int or at_once < 1:
        raise InputError(f"at_once is {at_once!r}; give how many units go before losses are found anew, at least 1")
    keep = _left(w.clone(), gram, columns, staying(len(columns), sparsity), at_once, ridge)
    if bool(keep.all()):
        return w_OI.detach().clone(), keep
    return refit(w_OI, gram_II, keep=columns_of(keep, unit_of_I))[0], keep


def outputs_of_units(w_OI: Tensor, gram_II: Tensor, unit_of_I: Tensor | None = None) -> Tensor:
    """The squared size of what each unit adds to the layer's outputs, summed over samples: tr(W_u gram_uu W_uᵀ). [U]

    It is the diagonal of `contributions`, without the rest, and what the outputs lose where one unit goes and nothing
    makes up for it.
    """
    w, gram, _ = doubled(w_OI, gram_II, None)
    columns = each_unit(len(gram), unit_of_I)
    return torch.stack([((w[:, at] @ gram[at][:, at]) * w[:, at]).sum() for at in columns])


def losses_of_units(w_OI: Tensor, gram_II: Tensor, unit_of_I: Tensor | None = None, *, ridge: float = 0.01) -> Tensor:
    """What the outputs lose where one unit goes and all others make up for it as well as they can. [U]"""
    w, gram, _ = doubled(w_OI, gram_II, None)
    return _losses(w, _inverse(gram, ridge), each_unit(len(gram), unit_of_I))


def _left(w: Tensor, gram: Tensor, columns: list[Tensor], count: int, at_once: int, ridge: float) -> Tensor:
    """Which units stay, bool [U]; `w` is written on."""
    keep = torch.ones(len(columns), dtype=torch.bool, device=w.device)
    inverse = _inverse(gram, ridge) if count < len(columns) else gram
    while (more := int(keep.sum()) - count) > 0:
        left = keep.nonzero().flatten().flip(0)  # of equals the last goes
        losses = _losses(w, inverse, [columns[unit] for unit in left.tolist()])
        gone = left[losses.argsort(stable=True)[: min(at_once, more)]]
        keep[gone] = False
        at = torch.cat([columns[unit] for unit in gone.tolist()])
        makes_up = torch.linalg.solve(inverse[at][:, at], inverse[at])
        w -= w[:, at] @ makes_up
        inverse.addmm_(inverse[:, at], makes_up, alpha=-1)
    return keep


def _losses(w: Tensor, inverse: Tensor, columns: list[Tensor]) -> Tensor:
    """tr(W_u ([H⁻¹]_uu)⁻¹ W_uᵀ) of each of these units."""
    if all(len(at) == 1 for at in columns):
        at = torch.cat(columns)
        return w[:, at].square().sum(0) / inverse.diagonal()[at]
    return torch.stack([(torch.linalg.solve(inverse[at][:, at], w[:, at].T).T * w[:, at]).sum() for at in columns])


def _inverse(gram: Tensor, ridge: float) -> Tensor:
    """The inverse of the Gram matrix with a ridge, which grows tenfold until the factors exist."""
    amount = size_of(gram, ridge)
    while True:
        factor, failed = torch.linalg.cholesky_ex(ridged(gram, amount))
        if not int(failed):
            return torch.cholesky_inverse(factor)
        amount = max(10 * amount, size_of(gram, 1e-12))
