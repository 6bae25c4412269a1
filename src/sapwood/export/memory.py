"""Memory: where tensors lie in it, which a file must be able to say."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from torch import Tensor

from sapwood.errors import InputError


def refuse_shared_memory(tensors: Mapping[str, Tensor]) -> None:
    """InputError where two tensors lie in the same memory."""
    distinct = {id(tensor): (name, tensor) for name, tensor in tensors.items() if tensor.numel()}
    spans = sorted((*_span(tensor), name) for name, tensor in distinct.values())
    for (_, end, one), (begin, _, other) in pairwise(spans):
        if begin < end:
            raise InputError(
                f"{one!r} and {other!r} are two tensors in the same memory, which a file cannot hold; "
                "make them one and the same parameter, or clone one of them"
            )


def _span(tensor: Tensor) -> tuple[int, int]:
    """Where in memory a tensor begins and ends."""
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.data_ptr(), tensor.data_ptr() + (last + 1) * tensor.element_size()


def dense(shape: Sequence[int], stride: Sequence[int]) -> bool:
    """Whether each number has one place in memory, and no place is left empty: as torch gives what it copies."""
    expected = 1
    for step, size in sorted(zip(stride, shape, strict=True)):
        if size > 1 and step != expected:
            return False
        expected *= size
    return all(step <= max(expected, 1) for step in stride)
