"""Speed: what a study's zeros do to the time a network takes, measured and said in one sentence."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from sapwood import disk
from sapwood.errors import InputError
from sapwood.measure import latency, verdict
from sapwood.study.folder import weights_of
from sapwood.study.table import Table, final
from sapwood.tasks import TASKS

NOTHING_FASTER = (
    "A sparsity counts zeros; zeros alone make nothing faster, since dense kernels multiply them like any number."
)


def speed(rows: Table, folder: Path, samples: int = 256) -> str:
    """That zeros are not speed; where it can be measured, how long the sparsest network takes beside a dense one."""
    sparsest = max((r for r in final(rows) if r["metric"] == "sparsity"), key=lambda r: r["value"] or 0.0, default=None)
    timed = _timed(sparsest["task"], folder / sparsest["trial"], samples) if sparsest is not None else None
    if sparsest is None or timed is None:
        return f"{NOTHING_FASTER} The time was not measured for this report."
    return (
        f"{NOTHING_FASTER} Measured for this report: the sparsest network (row {sparsest['row']}, "
        f"sparsity {sparsest['value']:.3f}) against an unpruned one of the same shape: {timed}."
    )


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
    times = latency({"pruned": pruned, "dense": dense}, task.data.test.inputs[:samples], rounds=100)
    return verdict(times["pruned"], times["dense"])


def _load(network: nn.Module, saved: Mapping[str, Tensor]) -> bool:
    """Whether the weights fit the task's own network: a method may have made another one."""
    shapes = {name: value.shape for name, value in saved.items()}
    if shapes != {name: value.shape for name, value in network.state_dict().items()}:
        return False
    network.load_state_dict(saved)
    return True
