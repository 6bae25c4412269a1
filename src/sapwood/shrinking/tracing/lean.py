"""Lean: `torch.export` without what nobody here asks for, which is a fifth of its time.

It writes Python code for every graph that it makes on the way, and notes all frames of the stack at every operator.
Here graphs are read, node by node; and of frames only those count that torch keeps, or that lie in a model's own code.
"""

import gc
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from torch import fx
from torch.fx.graph import _PyTreeCodeGen
from torch.utils import _traceback

from sapwood.shrinking.tracing.lines import TORCH

Frame = dict[str, Any]


@contextmanager
def lean() -> Iterator[None]:
    """While open, graphs get their code when it is first run, and frames of torch's own are left out of stacks.

    Nor does Python look for garbage in between: what an export makes is all still in use.
    """
    collects = gc.isenabled()
    with ExitStack() as stack:
        if collects:
            gc.disable()
            stack.callback(gc.enable)
        stack.enter_context(patch.object(fx.GraphModule, "recompile", _later(fx.GraphModule.recompile)))
        if hasattr(_traceback, "_extract_symbolized_tb"):  # torch's own business, so it may go by another name one day
            stack.enter_context(patch.object(_traceback, "_extract_symbolized_tb", _few))
        yield


def _later(compile_: Callable[[fx.GraphModule], Any]) -> Callable[[fx.GraphModule], Any]:
    """`recompile`, put off until the graph is run. Each graph has a class of its own, as torch gives it one."""

    def recompile(module: fx.GraphModule) -> Any:
        if isinstance(module.graph._codegen, _PyTreeCodeGen):  # then it says how to call the graph, too
            return compile_(module)

        def compiled(self: fx.GraphModule, *given: Any, **more: Any) -> Any:  # no line of a model's own `forward`
            compile_(self)
            return self(*given, **more)

        type(module).forward = compiled
        return None

    return recompile


def _few(frames: list[Frame], skip: int) -> traceback.StackSummary:
    """The stack from its outermost frame on, without those that nobody looks at."""
    kept = [f for f in reversed(frames[skip:]) if f["name"] == "forward" or not f["filename"].startswith(TORCH)]
    return traceback.StackSummary.from_list(
        [traceback.FrameSummary(f["filename"], f["line"], f["name"], lookup_line=False) for f in kept]
    )
