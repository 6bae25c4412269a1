"""Speed: what a study's zeros do to the time a network takes, measured and said in one sentence.

speed.txt    the trial that was timed, and what was said of it: kept with the rows, since the networks are not
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from sapwood import disk
from sapwood.errors import InputError
from sapwood.measure import latency, verdict
from sapwood.study.table import Table, final
from sapwood.tasks import TASKS
from sapwood.training import checkpoint
from sapwood.trials.folder import weights_of

FILE = "speed.txt"
NOTHING_FASTER = (
    "A sparsity counts zeros; zeros alone make nothing faster, since dense kernels multiply them like any number."
)


def speed(rows: Table, folder: Path, samples: int = 256) -> str:
    """That zeros are not speed; where it can be measured, how long the sparsest network takes beside a dense one."""
    sparsest = max((r for r in final(rows) if r["metric"] == "sparsity"), key=lambda r: r["value"] or 0.0, default=None)
    timed = _once_timed(sparsest, folder, samples) if sparsest is not None else None
    if sparsest is None or timed is None:
        return f"{NOTHING_FASTER} The time was not measured for this report."
    return (
        f"{NOTHING_FASTER} Measured: the sparsest network (arm {sparsest['row']}, sparsity {sparsest['value']:.3f}) "
        f"against an unpruned one of the same shape: {timed}."
    )


def _once_timed(row: Mapping[str, Any], folder: Path, samples: int) -> str | None:
    """Measured now, where the trial's weights are, and written down; else what was measured when they were."""
    timed = _timed(row["task"], folder / row["trial"], samples)
    if timed is not None:
        checkpoint.replace(folder / FILE, f"{row['trial']} {timed}\n".encode())
        return timed
    if not (folder / FILE).exists():
        return None
    trial, _, said = (folder / FILE).read_text(encoding="utf-8", errors="replace").strip().partition(" ")
    return said if trial == row["trial"] and said else None


def _timed(task_name: str, trial: Path, samples: int) -> str | None:
    if task_name not in TASKS or not disk.there(trial / "weights.safetensors"):
        return None
    saved = weights_of(trial)["model"]
    try:
        task = TASKS[task_name]()
    except InputError:  # the data are not on this machine
        return None
    dense, pruned = task.model(), task.model()
    if not _load(pruned, saved):
        return None
    times = latency({"pruned": pruned, "dense": dense}, task.data.test.take(slice(0, samples)).inputs, rounds=100)
    return verdict(times["pruned"], times["dense"])


def _load(network: nn.Module, saved: Mapping[str, Tensor]) -> bool:
    """Whether the weights fit the task's own network: a method may have made another one."""
    shapes = {name: value.shape for name, value in saved.items()}
    if shapes != {name: value.shape for name, value in network.state_dict().items()}:
        return False
    network.load_state_dict(saved)
    return True
