"""Exporting: what torch does and tells while it makes a graph, so that more can be exported and errors are one line."""

import io
import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn.modules import transformer

from sapwood.errors import first_line
from sapwood.shrinking.tracing.lines import culprit

BY_NUMBERS = {"GuardOnDataDependentSymNode", "DataDependentOutputException"}  # torch's names for these errors


@contextmanager
def written_out() -> Iterator[None]:
    """Attention as the operators it consists of, not as torch's one operator for whole layers in evaluation."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with as_said():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


@contextmanager
def as_said() -> Iterator[None]:
    """Torch's Transformer does not look whether a mask is causal, which no graph can hold: the mask counts anyway."""
    with patch.object(transformer, "_detect_is_causal_mask", _told):
        yield


def _told(mask: Tensor | None, is_causal: bool | None = None, size: int | None = None) -> bool:
    """Whether the caller says that a mask is causal."""
    return is_causal is True


@contextmanager
def quietly() -> Iterator[None]:
    """Torch notes what it skips, and prints pages of a graph that fails; what matters is in the error."""
    printed, disabled = io.StringIO(), logging.root.manager.disable
    logging.disable(max(disabled, logging.ERROR))
    try:
        with redirect_stderr(printed):
            yield
    except Exception:
        printed.truncate(0)
        raise
    finally:
        logging.disable(disabled)
        sys.stderr.write(printed.getvalue())


def refusal(error: BaseException) -> str:
    """Why there is no graph, in one line, with the line of the model's own code."""
    if by_numbers(error):
        return (
            f"its code decides by what numbers in a tensor are{culprit(error)}, and a graph has one way only; "
            "decide by sizes or with torch.where, or prune the part of the model without it"
        )
    if unknown := re.search(r"Found <class '(.*?)'> in (input|output)", str(error)):
        return f"{unknown[1]} is among its {unknown[2]}s, in which torch.export sees no tensors; use tuples or dicts"
    return f"{first_line(error)}{culprit(error)}"


def by_numbers(error: BaseException | None) -> bool:
    """Whether the model's code asks for the numbers in a tensor: `if x.sum() > 0`, `int(x)`, `.item()`."""
    while error is not None:
        if type(error).__name__ in BY_NUMBERS or getattr(error, "case_name", "") == "torch.cond":
            return True
        error = error.__cause__ or error.__context__
    return False
