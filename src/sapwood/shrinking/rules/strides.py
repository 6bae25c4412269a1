"""Strides: id tensors kept thin, with stride 0 along every dimension where nothing changes."""

from itertools import zip_longest

import torch
from torch import Tensor


def thin(ids: Tensor) -> Tensor:
    """One of each along dimensions of stride 0."""
    strides, shape = ids.stride(), ids.shape
    if 0 not in strides:
        return ids
    few = [1 if stride == 0 < size else size for size, stride in zip(shape, strides, strict=True)]
    return ids.as_strided(few, strides)


def steady(ids: Tensor) -> Tensor:
    """The same ids, with stride 0 along every dimension where nothing changes."""
    few = thin(ids)
    for dim, size in enumerate(few.shape):
        if size > 1 and _starts_alike(few, dim) and bool((few == few.narrow(dim, 0, 1)).all()):
            few = few.narrow(dim, 0, 1)
    return few.expand(ids.shape)


def _starts_alike(ids: Tensor, dim: int) -> bool:
    """Whether the first two along a dimension are the same: a look at these spares most looks at all."""
    if ids.numel() == 0:
        return True
    one, two = ids.as_strided((2,), (ids.stride(dim),)).tolist()
    return bool(one == two)


def together(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Both broadcast to one shape, one of each along dimensions where neither changes."""
    if a.shape != b.shape:
        a, b = torch.broadcast_tensors(a, b)  # type: ignore[no-untyped-call]
    strides = [*zip(a.stride(), b.stride(), strict=True)]
    if (0, 0) not in strides:
        return a, b
    few = [1 if pair == (0, 0) and size > 1 else size for size, pair in zip(a.shape, strides, strict=True)]
    return a.as_strided(few, a.stride()), b.as_strided(few, b.stride())


def broadcast(a: torch.Size, b: torch.Size) -> torch.Size:
    """The shape of two tensors that meet number by number; torch's own takes longer."""
    pairs = [*zip_longest(reversed(a), reversed(b), fillvalue=1)]
    if any(one != two and 1 not in (one, two) for one, two in pairs):
        raise ValueError(f"shapes {[*a]} and {[*b]} do not go together")
    return torch.Size(two if one == 1 else one for one, two in reversed(pairs))


def varied(ids: Tensor) -> list[int]:
    """The dimensions along which thin ids change."""
    return [dim for dim, (size, stride) in enumerate(zip(ids.shape, ids.stride(), strict=True)) if size > 1 and stride]
