"""Failure: where a run of a model stopped, and what it had looked at by then."""

from collections.abc import Set
from dataclasses import dataclass

from torch import nn

from sapwood.errors import first_line
from sapwood.shrinking.tracing.lines import OWN, of_torch
from sapwood.shrinking.tracing.reads import Number


@dataclass(frozen=True)
class Failure:
    """Where a run stopped: the modules in whose code, the innermost first, and how many had been run by then."""

    text: str
    inside: tuple[str, ...]
    done: int
    read: Set[Number] | None = None  # the numbers that the code had looked at by then; None: any may have been


def stopped(model: nn.Module, error: Exception, done: int, read: Set[Number] | None) -> Failure:
    """Where an error stopped a run of the model; what it has `done` and `read` by then is the caller's to say."""
    names = {id(module): name for name, module in model.named_modules()}
    inside, at, trace = list[str](), "", error.__traceback__
    while trace is not None:
        frame, trace_line = trace.tb_frame, trace.tb_lineno
        file = frame.f_code.co_filename
        inside[:0] = [names[id(value)] for value in frame.f_locals.values() if id(value) in names]
        if not of_torch(file) and not file.startswith(OWN):
            at = f" ({file}:{trace_line})"
        trace = trace.tb_next
    return Failure(f"{first_line(error)}{at}", tuple(dict.fromkeys(inside)), done, read)
