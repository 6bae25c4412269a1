"""Strides: id tensors kept thin, with stride 0 along every dimension where nothing changes."""

import torch
from torch import Tensor


def thin(ids: Tensor) -> Tensor:
    """One of each along dimensions of stride 0."""
    for dim in range(ids.dim()):
        if ids.shape[dim] > 1 and ids.stride(dim) == 0:
            ids = ids.narrow(dim, 0, 1)
    return ids


def steady(ids: Tensor) -> Tensor:
    """The same ids, with stride 0 along every dimension where nothing changes."""
    few = thin(ids)
    for dim in range(few.dim()):
        if few.shape[dim] > 1 and bool((few == few.narrow(dim, 0, 1)).all()):
            few = few.narrow(dim, 0, 1)
    return few.expand(ids.shape)


def together(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Both broadcast to one shape, one of each along dimensions where neither changes."""
    a, b = torch.broadcast_tensors(a, b)  # type: ignore[no-untyped-call]
    for dim in range(a.dim()):
        if a.shape[dim] > 1 and a.stride(dim) == 0 and b.stride(dim) == 0:
            a, b = a.narrow(dim, 0, 1), b.narrow(dim, 0, 1)
    return a, b


def varied(ids: Tensor) -> list[int]:
    """The dimensions along which thin ids change."""
    return [dim for dim in range(ids.dim()) if ids.shape[dim] > 1 and ids.stride(dim) != 0]
