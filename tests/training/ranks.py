"""Several real processes for a test: each does a job, and what it found or died of is a file in a folder.

They are forked from one server that has imported the library once, so that two or three start in a second.
"""

import multiprocessing
import traceback
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from sapwood import checkpoint

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload([
    *("torch", "torch.distributed.fsdp", "torch.distributed.checkpoint", "torch._dynamo", "torch.export", "pytest"),
    *("sapwood.checks", "sapwood.training.run", "sapwood.shrinking.shrunk"),
])  # fmt: skip


def begin(job, world, folder, *given):
    """Start the processes; `job(folder, *given)` runs in each."""
    every = [SERVER.Process(target=_work, args=(job, rank, world, folder, given), daemon=True) for rank in range(world)]
    for one in every:
        one.start()
    return every


def end(every, within=60):
    """The exit codes once all are over; None for one that was not, which is killed."""
    for one in every:
        one.join(within)
    codes = [one.exitcode for one in every]
    for one in every:
        one.kill()
    return codes


def together(job, world, folder, *given):
    """What each process returned: a tree that a checkpoint can hold."""
    codes = end(begin(job, world, folder, *given), 300)
    said = [(folder / f"died {rank}").read_text() for rank in range(world) if (folder / f"died {rank}").exists()]
    assert codes == [0] * world, "\n".join([str(codes), *said])
    return [checkpoint.read(folder / f"found {rank}") for rank in range(world)]


def _work(job, rank, world, folder, given):
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=world, timeout=timedelta(minutes=9)
    )
    try:
        found = job(Path(folder), *given)
    except BaseException:
        (folder / f"died {rank}").write_text(traceback.format_exc())
        raise
    checkpoint.write(folder / f"found {rank}", found or {})
    dist.destroy_process_group()
