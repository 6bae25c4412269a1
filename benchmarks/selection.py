"""Exact selection of 10 % of the scores, beside np.partition, torch.kthvalue and torch.sort; and its memory.

torch.kthvalue only finds the threshold, torch.sort only the order, and np.partition, the fastest of the three, sorts
around the threshold only; `select.everywhere` also settles ties and writes the mask. Scores: absolute normal numbers as
*Neurons & Weights* gives them, and whole numbers that tie as counts of 650 neurons do. Memory: the peak of a fresh
process above what it held with the scores in it.
"""

import argparse
import subprocess
import sys
from functools import partial
from typing import Any

import numpy as np
import torch
from interleaved import compare
from torch import Tensor

from sapwood import select

SPARSITY = 0.9
PARTITION, BYTES = 2.0, 5  # of np.partition; 4 bytes a score and the mask's one
RIVALS = ("partition", "kthvalue", "sort")
PEAK = """
import re, sys, torch
from sapwood import select

def most():
    return 1024 * int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1])

torch.set_num_threads(1)
scores = {"w": torch.randn(int(sys.argv[1])).abs_()}
select.everywhere({"w": scores["w"][:100_000]}, 0.9)
before = most()
select.everywhere(scores, 0.9)
print(most() - before)
"""


def scores(size: int, tied: bool) -> Tensor:
    """So many scores."""
    luck = torch.Generator().manual_seed(0)
    if not tied:
        return torch.randn(size, generator=luck).abs_()
    counters = torch.randint(54_000, (650,), generator=luck).float()
    return counters.repeat_interleave(-(-size // 650))[:size].contiguous()


def again(times: int, case: partial[Any]) -> None:
    """A case so often that the clock can tell."""
    for _ in range(times):
        case()


def measured(size: int, tied: bool, rounds: int) -> bool:
    """Prints one line; whether the targets were met."""
    values, times = scores(size, tied), max(1, 20_000_000 // size)
    cases: dict[str, partial[Any]] = {
        "ours": partial(select.everywhere, {"w": values}, SPARSITY),
        "partition": partial(np.partition, values.numpy(), int(size * SPARSITY)),
        "kthvalue": partial(torch.kthvalue, values, int(size * SPARSITY)),
        "sort": partial(torch.sort, values),
    }
    found = compare({name: partial(again, times, case) for name, case in cases.items()}, rounds)
    ratios = "".join(f"{found.ratio('ours', rival, clock):12.4f}" for clock in ("cpu", "wall") for rival in RIVALS)
    milliseconds = found.seconds("ours") / times * 1e3
    print(f"{size:12,} {'tied' if tied else 'distinct':9}{milliseconds:12.3f}{ratios}", flush=True)
    return found.ratio("ours", "partition") <= PARTITION


def peak(size: int) -> float:
    """Bytes a score that a selection adds to a process's peak, the mask among them."""
    command = [sys.executable, "-c", PEAK, str(size)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) / size


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--sizes", type=int, nargs="+", default=[320_200, 100_000_000])
    options.add_argument("--rounds", type=int, default=7)
    chosen = options.parse_args()
    torch.set_num_threads(1)
    print(
        f"torch {torch.__version__}, 1 thread, median of {chosen.rounds} rounds; ratios of CPU time, then of wall time"
    )
    print(f"{'scores':>12} {'':9}{'ours (ms)':>12}" + "".join(f"{rival:>12}" for rival in RIVALS * 2))
    met = [measured(size, tied, chosen.rounds) for size in chosen.sizes for tied in (False, True)]
    print(f"wanted: at most {PARTITION} of np.partition")
    extra = peak(max(chosen.sizes))
    print(f"extra memory: {extra:.2f} bytes a score, mask included; at most {BYTES} wanted")
    sys.exit(not (all(met) and extra <= BYTES))
