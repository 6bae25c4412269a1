"""Text: a text in memory as the bytes that it is, in the three parts that were published."""

from typing import NamedTuple

from torch import Tensor


class Text(NamedTuple):
    """Bytes, uint8 [N]. Shared between tasks: not to be written to."""

    train: Tensor
    valid: Tensor
    test: Tensor
