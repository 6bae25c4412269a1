"""Side by side with Torch-Pruning: what finding the units of a network costs, and removing half of them.

`python benchmarks/peers/side_by_side.py --write` makes docs/side-by-side.md anew; it takes a quarter of an hour. Every
measurement is a process of its own, with one thread, a limit on each stage's CPU time and one on its memory, so that
what never ends or eats all memory is a line in the table. Every round runs all of them once, in a new random order.
"""

import argparse
import gc
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import architectures
import peer
import torch
from side_by_side_page import GIGABYTES, OURS, PEER, SECONDS, TOLD, Case, Stages, page, stopped

from sapwood import checkpoint
from sapwood.shrinking.finding import couplings
from sapwood.shrinking.shrunk import shrink

PAGE = Path(__file__).parents[2] / "docs" / "side-by-side.md"
ROUNDS = 3
VGG = "torchvision vgg16_bn"
architectures.ARCHITECTURES.setdefault(VGG, lambda: architectures.vision("vgg16_bn"))
NETWORKS = {
    "ResNet-50": "torchvision resnet50",
    "DenseNet-121": "torchvision densenet121",
    "VGG-16-BN": VGG,
    "ViT-B/16": "torchvision vit_b_16",
    "Swin-T": "torchvision swin_t",
    "Llama, 2 layers": "transformers llama",
}
ATTENTION = ("ViT-B/16", "Swin-T", "Llama, 2 layers")
CASES = [(name, tool) for name in NETWORKS for tool in (OURS, PEER, TOLD) if tool != TOLD or name in ATTENTION]

Tell = Callable[..., None]

# ---- one measurement, in its own process ----


def measure(case: Case, tell: Tell) -> None:
    """All stages of a case, each told as soon as it ends."""
    name, tool = NETWORKS[case[0]], case[1]
    original = network(name)
    stage = Stage(tell)
    try:
        ours(original, stage) if tool == OURS else theirs(name, original, tool == TOLD, stage)
    except Exception as error:  # whatever stops it is the answer
        tell(stage=stage.now, failed=why(error))


@torch.no_grad()
def network(name: str) -> architectures.Made:
    """Made, with noise where weights start at 0, as those of ViT's classifier: they would make all outputs equal."""
    model, example = architectures.made(name)
    luck = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if not parameter.any():
            parameter.copy_(torch.randn(parameter.shape, generator=luck) / 50)
    return model, example


def ours(original: architectures.Made, stage: "Stage") -> None:
    """The sites; the smaller network without and with proof."""
    model, example = original
    sites = stage("analysis", lambda: couplings(model, example)).sites
    keep, luck = {}, torch.Generator().manual_seed(0)
    for site in sites:
        staying = torch.randperm(site.units, generator=luck)[: (site.units + 1) // 2]
        keep[site.name] = torch.zeros(site.units, dtype=torch.bool).index_fill(0, staying, True)
    small = stage("removing", lambda: shrink(model, keep, sites, example=example, check=False)).model
    stage.tell(stage="removed", share=1 - size(small) / size(model))
    del small
    found = stage("with proof", lambda: shrink(model, keep, sites, example=example))
    stage.tell(stage="equal", said=f"{found.difference:.1e}")


def theirs(name: str, original: architectures.Made, told: bool, stage: "Stage") -> None:
    """Its pruner; its step; then what came out against the original, made anew."""
    model, scoring = original[0], peer.Scoring()
    before = size(model)
    pruner = stage("analysis", lambda: peer.analysed(original, scoring, told))
    groups = stage("removing", lambda: peer.stepped(pruner))
    stage.tell(stage="scoring", cpu=scoring.seconds)
    stage.tell(stage="removed", share=1 - size(model) / before)
    stage.now = "equal"
    stage.tell(stage="equal", said=peer.compared(original, groups, network(name)[0]))


def size(model: torch.nn.Module) -> int:
    """How many parameters it has."""
    return sum(p.numel() for p in model.parameters())


class Stage:
    """Measures one stage after another, and ends the process where one takes too long."""

    def __init__(self, tell: Tell) -> None:
        gc.collect()
        self.tell, self.now, self.loaded = tell, "", memory("VmRSS")

    def __call__(self, name: str, work: Callable[[], Any]) -> Any:
        """What the work gives; its seconds and memory are told."""
        self.now = name
        gc.collect()
        forget_peak()
        resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + SECONDS, resource.RLIM_INFINITY))
        cpu, wall = time.process_time(), time.perf_counter()
        found = work()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        self.tell(stage=name, cpu=cpu, wall=wall, memory=memory("VmHWM") - self.loaded)
        return found


def memory(which: str) -> float:
    """Megabytes that the process holds (VmRSS) or held at most (VmHWM); on Linux."""
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(which))


def forget_peak() -> None:
    """From now on VmHWM is the most since now."""
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def why(error: Exception) -> str:
    """In a few words."""
    if isinstance(error, MemoryError) or "not enough memory" in str(error) or "allocate memory" in str(error):
        return f"more than {GIGABYTES} GB"
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"


def child(case: Case) -> None:
    """Measures a case within limits, and writes a line of JSON for each stage."""
    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (GIGABYTES << 30, GIGABYTES << 30))
    measure(case, lambda **found: print(json.dumps(found), flush=True))


# ---- all of them ----


def run(case: Case) -> Stages:
    """A case in a process of its own: what its stages said, and why the last of them said nothing."""
    command = [sys.executable, "-W", "ignore", __file__, "--child", *case]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | threads) as process:
        try:
            said, _ = process.communicate(timeout=10 * SECONDS)  # a busy machine's clock runs faster than CPU time
        except subprocess.TimeoutExpired:
            process.kill()
            said, _ = process.communicate()
    return stages(said, process.returncode)


def stages(said: str, ended: int) -> Stages:
    """{stage: what it said}; a process that was ended stopped in the stage after the last that it named."""
    found: Stages = {}
    for line in said.splitlines():
        told = json.loads(line)
        found[told.pop("stage")] = told
    if ended:
        stopped = next((name for name in ("analysis", "removing", "with proof", "equal") if name not in found), "equal")
        unfinished = ended in (-signal.SIGXCPU, -signal.SIGKILL)
        found[stopped] = {"failed": f"unfinished after {SECONDS} s" if unfinished else f"ended with {ended}"}
    return found


def rounds(cases: Sequence[Case], count: int) -> dict[Case, list[Stages]]:
    """Every case once in each round; what did not come to its end is not run again."""
    luck, found = random.Random(0), {case: list[Stages]() for case in cases}
    for number in range(count):
        for case in luck.sample(cases, len(cases)):
            if all(stopped(stages) is None for stages in found[case]):
                found[case].append(run(case))
                print(f"round {number + 1}, {', '.join(case)}: {json.dumps(found[case][-1])}", flush=True)
    return found


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--write", action="store_true")
    options.add_argument("--rounds", type=int, default=ROUNDS)
    options.add_argument("--child", nargs=2, metavar=("NETWORK", "TOOL"), help="measure one, here and now")
    options.add_argument("names", nargs="*", help="these networks only")
    chosen = options.parse_args()
    if chosen.child:
        child(tuple(chosen.child))
    else:
        wanted = [case for case in CASES if case[0] in (chosen.names or NETWORKS)]
        text = page(rounds(wanted, chosen.rounds))
        print(text)
        if chosen.write:
            checkpoint.replace(PAGE, text.encode())
