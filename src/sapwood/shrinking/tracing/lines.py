"""Lines: where in the model's own code an operator stands, and where an error arose."""

import os
import re
import sys
import sysconfig
import traceback
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import fx

LINE = re.compile(r'File "([^"]+)", line (\d+)')
TORCH = str(Path(torch.__file__).parent) + os.sep
PYTHON, INSTALLED = sysconfig.get_path("stdlib") + os.sep, "-packages" + os.sep
OWN = tuple(str(Path(__file__).parents[2] / room) + os.sep for room in ("shrinking", "measure", "scoring"))


def line(node: fx.Node) -> str:
    """Where in the model's code an operator stands: "net.py:12", or the module where all code there is torch's.

    Where nothing says so, what comes nearest: the tensor that the operator reads, its output's name in the graph.
    """
    found = [f"{file}:{at}" for file, at in LINE.findall(node.meta.get("stack_trace") or "") if not of_torch(file)]
    stack = [(name, getattr(kind, "__name__", str(kind))) for name, kind in _modules(node)]
    if found:
        return found[-1]
    if stack:
        name, kind = stack[-1]
        return f"in module {name!r}" if name else f"in {kind.rpartition('.')[2]}.forward"
    held = [str(part.target) for part in node.all_input_nodes if part.op == "placeholder"]
    return f"reads {held[0]!r}" if held else f"{node.name!r} in the exported graph"


def _modules(node: fx.Node) -> list[tuple[str, Any]]:
    """(name, class) of the modules in whose code an operator stands, the outermost first."""
    return list((node.meta.get("nn_module_stack") or {}).values())


def of_torch(file: str) -> bool:
    """Whether a file is part of torch or of Python itself."""
    return file.startswith((TORCH, "<frozen", "<eval_with_key")) or (file.startswith(PYTHON) and INSTALLED not in file)


def culprit(error: BaseException) -> str:
    """ " (net.py:12)": the line of the model's own code at which an error arose; "" if there is none."""
    each: BaseException | None = error
    while each is not None:
        frames = [f for f in traceback.extract_tb(each.__traceback__) if not of_torch(f.filename)]
        frames = [frame for frame in frames if not frame.filename.startswith((*OWN, "<string>"))]
        if frames:
            return f" ({frames[-1].filename}:{frames[-1].lineno})"
        each = each.__cause__ or each.__context__
    return ""


def where(function: str = "") -> str:
    """The line outside of torch and of this room that is being run, the innermost, or that of a `function`."""
    frame = outside(function)
    return "in code of torch's" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"


def outside(function: str = "") -> FrameType | None:
    """The innermost call, of functions of this name, outside of torch and of this room."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and (
        frame.f_code.co_filename.startswith((*OWN, TORCH)) or function not in ("", frame.f_code.co_name)
    ):
        frame = frame.f_back
    return frame
