"""Network-steps a second of trials that step together, beside the same trials one after another: one thread.

On a GPU the steps are captured as one graph (`benchmarks/gpu.py`), on a CPU they are not.
Each network is masked (half of each hidden layer) and counted (which neurons fire), as in the first paper. A round
makes so many steps of one network by itself, and of E networks together, in turn; starting is not timed. `mlp_fashion`
is the first paper's network, which needs its data set; `mlp_digits` is small.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from interleaved import compare

from sapwood import TASKS, Moment, Run, Task, start, statistics, train
from sapwood.scoring.layers import chosen
from sapwood.scoring.observation import observing
from sapwood.training.loop import Acts
from sapwood.training.task import orders_kept
from sapwood.trials.lockstep import Lane, Lanes, Lockstep

EVER = 10**9


def life(run: Run, acts: Acts | None = None) -> Iterator[Moment]:
    """Train a network that is masked and counted, by code that acts at the steps that `acts` says, or may at any."""
    hidden = run.hidden()
    layers = chosen(run.model, hidden)
    luck = torch.Generator().manual_seed(run.seed)
    run.prune(
        {f"{name}.weight": torch.rand(layer.weight.shape, generator=luck) < 0.5 for name, layer in layers.items()}
    )
    with observing(run.model, statistics.active, only=hidden, training=True, into={}):
        yield from train(run, steps=EVER, acts=acts)


def alone(task: Task, steps: int) -> Callable[[], object]:
    """So many steps of one network."""
    moments = life(start(task))
    next(moments)
    return lambda: [next(moments).step for _ in range(steps)]


def together(
    task: Task, members: int, steps: int, device: str = "cpu", acts: Acts | None = None
) -> tuple[Callable[[], int], Lanes[int]]:
    """What makes so many steps of each of the networks and returns how many network-steps were made; their lanes.

    The task's data must lie on the device. Captured steps are made many at a time where `acts` allows it: a few more.
    """
    lockstep, lanes, runs = Lockstep(device), Lanes[int](), list[Run]()

    def job(seed: int, _: object) -> None:
        run = start(task, seed, device=device)
        run.stepping = lockstep.step
        runs.append(run)
        for _ in life(run, acts):
            if run.alone:
                raise RuntimeError(f"it steps by itself: {run.alone}")

    lanes.begun = [Lane(job, seed, print) for seed in range(members)]
    return partial(_steps, lockstep, lanes, runs, steps), lanes


def _steps(lockstep: Lockstep, lanes: Lanes[int], runs: Sequence[Run], steps: int) -> int:
    before = sum(run.step for run in runs)
    while sum(run.step for run in runs) - before < steps * len(lanes.begun):
        lanes.round()
        if said := [lane.error for lane in lanes.begun if lane.error]:
            raise RuntimeError(said[0])
        lockstep.together([lane.member for lane in lanes.begun if lane.member is not None and lane.asked])
    if lockstep.plain:
        raise RuntimeError(f"steps are not captured: {next(iter(lockstep.plain.values()))}")
    return sum(run.step for run in runs) - before


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--task", default="mlp_fashion")
    options.add_argument("--members", type=int, nargs="+", default=[8, 32, 64])
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--steps", type=int, default=256, help="network-steps a round")
    asked = options.parse_args()
    found = TASKS[asked.task]()
    with orders_kept(1 + sum(asked.members)):
        cases, opened = {"serial": alone(found, asked.steps)}, list[Lanes[int]]()
        for members in asked.members:
            case, lanes = together(found, members, max(1, asked.steps // members))
            case()  # the first step takes the networks in
            cases[f"together, {members}"] = case
            opened.append(lanes)
        times = compare(cases, asked.rounds)
    made = {"serial": asked.steps}
    made |= {f"together, {members}": max(1, asked.steps // members) * members for members in asked.members}
    print(f"{asked.task}: network-steps a second of CPU time, one thread, torch {torch.__version__}")
    for name in cases:
        rate = made[name] / times.seconds(name)
        faster = made[name] / made["serial"] / times.ratio(name, "serial")
        print(f"  {name:14}{rate:9,.0f}   {faster:5.2f} times serial's")
    for lanes in opened:
        lanes.stop()
