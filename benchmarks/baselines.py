"""Has anything become slower? Today's ratios beside the recorded ones: importing, a training step, `sites`, and CI.

A machine is never as fast as yesterday, so what is recorded is how many times longer something takes than what was
timed beside it, in turn, in the same process or by the same process: CPU seconds, the median over the rounds.

    python benchmarks/baselines.py                  compare; exit status 1 if a ratio is 1.25 times the recorded one
    python benchmarks/baselines.py --write          record today's
    python benchmarks/baselines.py --ci SECONDS     the last line of .ci/run: how many `import torch` its tests took,
                                                    on how many cores, with the data sets or without
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from statistics import median

import torch
from interleaved import Case, compare
from start_and_save import cpu_seconds
from training_step import BARE, WHOLE, parts, samples, several

import sapwood
from sapwood import sites
from sapwood.models.resnet_cifar import resnet_cifar

FILE = Path(__file__).with_suffix(".json")
SLOWER = 1.25  # times the recorded ratio: more than the noise of a shared machine
CI = "CI's tests / import torch, by the wall's clock"  # cores and data sets follow: other tests, another ratio
NONE = "none yet"
NAMES = "import sapwood; " + "; ".join(f"sapwood.{name}" for name in sapwood.__all__)


def importing(rounds: int) -> float:
    """All public names, beside torch alone."""
    cases = {"names": ("-c", NAMES), "torch": ("-c", "import torch")}
    times = [{name: cpu_seconds(words) for name, words in cases.items()} for _ in range(rounds + 1)][1:]
    return median(each["names"] / each["torch"] for each in times)


def step(rounds: int) -> float:
    """A step of `train`, neurons masked and counted, beside the bare loop, batch 32."""
    ways = parts(samples(9_600), 32)
    found = compare({name: partial(several, ways[name], 24) for name in (BARE, WHOLE)}, 4 * rounds)
    return found.ratio(WHOLE, BARE)


def analysis(rounds: int) -> float:
    """`sites` of a residual network of 50 layers, beside `torch.export` alone."""
    model, example = resnet_cifar(50).eval(), torch.rand(2, 3, 32, 32)
    cases: dict[str, Case] = {
        "sites": partial(sites, model, example),
        "export": partial(torch.export.export, model, (example,)),
    }
    return compare(cases, rounds).ratio("sites", "export")


def continuous_integration(seconds: float, rounds: int = 3) -> float:
    """How many times `import torch` it took, by the clock on the wall, as it is now."""
    return seconds / median(_wall() for _ in range(rounds))


def ci_name(cores: int, data: bool) -> str:
    """What CI's ratio is recorded under: it is compared with one of as many cores, and of the same tests."""
    return f"{CI}, {cores} cores, {'with' if data else 'without'} data"


def _wall() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import torch"], check=True)
    return time.perf_counter() - began


MEASURED = {
    "all public names / import torch": importing,
    "train, neurons masked and counted / bare loop": step,
    "sites of 50 layers / torch.export": analysis,
}


def recorded() -> dict[str, float]:
    """The ratios that were written."""
    ratios: dict[str, float] = json.loads(FILE.read_text("utf-8"))
    return ratios


def lines(today: Mapping[str, float], before: Mapping[str, float]) -> list[tuple[str, bool]]:
    """(a line for each ratio, whether it is too much slower than the recorded one; one that is new never is)."""
    return [_line(name, ratio, before.get(name)) for name, ratio in today.items()]


def _line(name: str, ratio: float, before: float | None) -> tuple[str, bool]:
    if before is None:
        return f"{name:72}{ratio:9.3f}{NONE:>10}", False
    return f"{name:72}{ratio:9.3f}{before:10.3f}{ratio / before:8.2f}", ratio > SLOWER * before


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--ci", type=float, metavar="SECONDS")
    options.add_argument("--write", action="store_true")
    chosen = options.parse_args()
    today = (
        {name: measure(chosen.rounds) for name, measure in MEASURED.items()}
        if chosen.ci is None
        else {ci_name(os.cpu_count() or 1, bool(os.environ.get("SAPWOOD_DATA"))): continuous_integration(chosen.ci)}
    )
    found = lines(today, recorded())
    print(f"{'':72}{'today':>9}{'recorded':>10}{'ratio':>8}")
    for line, slow in found:
        print(line + ("   slower" if slow else ""))
    if chosen.write:
        FILE.write_text(
            json.dumps(recorded() | {name: round(ratio, 3) for name, ratio in today.items()}, indent=1) + "\n"
        )
    sys.exit(any(slow for _, slow in found) and not chosen.write and chosen.ci is None)
