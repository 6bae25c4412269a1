"""Provenance: what made a result - versions, commit, device, threads; never a host's name or a path."""

import platform
import subprocess
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy
import torch

from sapwood import __version__
from sapwood.errors import InputError

PATIENCE = 120  # seconds for git, which takes a hundredth of one; a busy machine must not lose the commit


def provenance(device: torch.device | str) -> dict[str, Any]:
    """One life of a trial, as plain values."""
    return {
        "sapwood": __version__,
        "commit": commit(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": numpy.__version__,
        "device": device_name(torch.device(device)),
        "threads": torch.get_num_threads(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def usable(device: str) -> torch.device:
    """The device called so, if torch knows it and it is there."""
    try:
        found = torch.device(device)
        torch.empty(1, device=found)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {device!r} cannot be used ({str(error).splitlines()[0]}); try 'cpu'") from error
    return found


def device_name(device: torch.device) -> str:
    """ "cpu (x86_64, AVX512)", "cuda (its model)": the kind of machine, not which one.

    The vector instructions stand there because the bits of a result depend on them: sums are split differently.
    """
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return f"{device.type} ({platform.machine()}, {torch.backends.cpu.get_cpu_capability()})"


@lru_cache(maxsize=1)
def commit() -> str | None:
    """The commit this package is checked out at, "+changes" when the package differs from it; None outside of git."""
    here = Path(__file__)
    if _git(here.parent, "ls-files", "--error-unmatch", here.name) is None:
        return None  # installed somewhere inside another project's checkout
    head = _git(here.parent, "rev-parse", "--short=12", "HEAD")
    changed = _git(here.parent.parent, "status", "--porcelain", ".")
    return f"{head}+changes" if head and changed else head


def _git(folder: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=PATIENCE)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
