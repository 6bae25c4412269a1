"""How long the command line takes to start, and a checkpoint to be written, beside what nobody can do without.

Starting: `sapwood list`, and what `sapwood run` imports, beside `import torch`, CPU seconds of a process of its own, in
turn. Saving: ten million numbers, beside safetensors alone, written the same safe way (beside, flushed to disk,
renamed); in the same process, in turn. What safetensors does not do: it has no digest, so damage is not noticed.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
from interleaved import compare
from safetensors.torch import save, save_file

from sapwood import checkpoint, disk

LIST, SAVE = 2.0, 1.5  # at most so many times as long
STARTS = {
    "import torch": ("-c", "import torch"),
    "sapwood list": ("-c", "from sapwood.cli import main; main()", "list"),
    "what sapwood run imports": ("-c", "import sapwood.cli.running"),
}


def cpu_seconds(arguments: tuple[str, ...]) -> float:
    """What a Python with these arguments has used when it ends."""
    before = os.times()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def starts(rounds: int) -> dict[str, float]:
    """The median of each, over the rounds after one that is not counted, as a ratio to `import torch` in its round."""
    times = [{name: cpu_seconds(arguments) for name, arguments in STARTS.items()} for _ in range(rounds + 1)][1:]
    return {name: median(each[name] / each["import torch"] for each in times) for name in STARTS}


def saves(folder: Path, count: int) -> dict[str, Callable[[], object]]:
    """Ways to write so many numbers."""
    tensors = {f"layer{i}.weight": torch.randn(count // 10) for i in range(10)}
    path = folder / "state.safetensors"
    return {
        "safetensors alone, replaced": lambda: disk.replace(path, save(tensors)),
        "safetensors alone, in place, not flushed": partial(save_file, tensors, str(path)),
        "checkpoint.write": partial(checkpoint.write, path, {"model": tensors, "step": 1}),
    }


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--numbers", type=int, default=10_000_000)
    chosen = options.parse_args()
    began = time.perf_counter()
    ratios = starts(chosen.rounds)
    for name, ratio in ratios.items():
        print(f"{name:44}{ratio:8.2f} times import torch (CPU)")
    with TemporaryDirectory() as folder:
        found = compare(saves(Path(folder), chosen.numbers), chosen.rounds)
    alone, ours = "safetensors alone, replaced", "checkpoint.write"
    for name in found.cpu:
        print(
            f"{name:44}{found.seconds(name) * 1e3:8.1f} ms CPU{found.ratio(name, alone):8.2f} CPU"
            f"{found.ratio(name, alone, 'wall'):8.2f} wall"
        )
    met = ratios["sapwood list"] <= LIST and found.ratio(ours, alone) <= SAVE
    print(f"wanted: list at most {LIST} times import torch, a checkpoint {SAVE} times safetensors alone, replaced")
    print(f"({time.perf_counter() - began:.0f} s)")
    sys.exit(not met)
