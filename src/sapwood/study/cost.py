"""Cost: what one prune takes, in seconds and bytes, as the number of weights W grows; and what sorting takes instead.

*Paper:* Ganguli, Chong 2024, "Activation-Based Pruning of Neural Networks", table 1 claims O(n log n) time and O(n)
space for n neurons; its Algorithm 3 sorts one entry for each *weight*: as written that costs O(W log W) and O(W).
"""

import csv
import ctypes
import io
import math
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sapwood import disk
from sapwood.criteria import CRITERIA
from sapwood.errors import InputError, refuse_unless
from sapwood.extras import optional
from sapwood.schema import brief, read_number, read_whole
from sapwood.scoring.criterion import score
from sapwood.scoring.evidence import Evidence
from sapwood.selection import select
from sapwood.study.table import Table
from sapwood.training import checkpoint

SIZES = tuple(round(10 ** (4 + i / 2)) for i in range(9))
LAYERS, SHARE, SAMPLES = 4, 0.24, 54_000  # 0.24: about what the first of five cycles to a sparsity of 0.8 removes
LARGE = {"seconds": 10**5, "bytes": 10**6}  # from about here on the part that does not depend on W is small
PATIENCE = 20  # seconds: a step that has taken as long at one size, all rounds together, is not repeated
PROCESS = Path("/proc/self")


class Cost(NamedTuple):
    """One number: `seconds` of CPU time, the median over the rounds, or `bytes` by which the process's memory rose."""

    kind: str
    weights: int
    metric: str
    value: float


class Exponent(NamedTuple):
    """b in cost = a * W^b and its 95 % interval, which two sizes alone do not have."""

    slope: float
    low: float | None
    high: float | None
    sizes: int


class Scene(NamedTuple):
    """A network about to be pruned."""

    model: nn.Sequential
    seen: Evidence

    @property
    def weights(self) -> int:
        """How many it has."""
        return sum(p.numel() for p in self.model.parameters())


def scene(weights: int) -> Scene:
    """Four square layers of together about so many random weights, and random counts of their neurons' activity."""
    side = math.isqrt(weights // LAYERS)
    luck = torch.Generator().manual_seed(0)
    layers = [nn.Linear(side, side, bias=False, device="meta").to_empty(device="cpu") for _ in range(LAYERS)]
    for layer in layers:
        nn.init.uniform_(layer.weight, -1, 1, generator=luck)
    counters = [torch.randint(SAMPLES, (side,), generator=luck) for _ in layers]
    return Scene(nn.Sequential(*layers), {str(i): {"active": counts} for i, counts in enumerate(counters)})


def _pruned(scene: Scene, criterion: str, least: int) -> select.Keep:
    """Scores and choice as the methods make them: the highest `least` of a layer stay, of equals the first goes."""
    scores = score(scene.model, CRITERIA[criterion], scene.seen)
    return select.drop(scores, round(SHARE * scene.weights), least=dict.fromkeys(scores, least), ties="first goes")


def _by_neurons(scene: Scene) -> select.Keep:
    return _pruned(scene, "activity", least=math.isqrt(scene.weights // LAYERS))  # a neuron's


def _by_neurons_and_weights(scene: Scene) -> select.Keep:
    return _pruned(scene, "active_magnitude", least=1)


def _by_sorting_weights(scene: Scene) -> select.Keep:
    """Neurons & Weights as the paper writes it: all scores in order, the first ones go."""
    scores = score(scene.model, CRITERIA["active_magnitude"], scene.seen)
    order = torch.cat([s.reshape(-1) for s in scores.values()]).argsort()
    keep = torch.ones(scene.weights, dtype=torch.bool)
    keep[order[: round(SHARE * scene.weights)]] = False
    parts = keep.view(LAYERS, -1)  # of one size each
    return {name: part.view_as(s) for (name, s), part in zip(scores.items(), parts, strict=True)}


def _in_one_layer(scene: Scene, layer: str = "0") -> select.Keep:
    """Neurons & Weights in one layer, as a cycle of local pruning has it: no other is scored."""
    scores = score(scene.model, CRITERIA["active_magnitude"], scene.seen, only=[layer])
    return select.drop(scores, round(SHARE * scores[f"{layer}.weight"].numel()), ties="first goes")


def _layer_by_layer(scene: Scene) -> list[select.Keep]:
    """All cycles of local pruning; the masks of those before stay."""
    return [_in_one_layer(scene, layer) for layer in scene.seen]


def _sorted_neurons(scene: Scene) -> Tensor:
    return torch.cat([seen["active"] for seen in scene.seen.values()]).argsort()


Step = Callable[[Scene], object]
STEPS: dict[str, Step] = {  # what the paper's two scores cost, and sorting
    "Neurons": _by_neurons,
    "Neurons & Weights": _by_neurons_and_weights,
    "sort all weights": _by_sorting_weights,  # Neurons & Weights, by a full sort
    "sort the neurons": _sorted_neurons,  # nothing but the sort: the least that Neurons could cost
}

EVERYWHERE, ONE_LAYER = "all layers together", "one layer"
SCOPES: dict[str, Step] = {  # a cycle of global pruning, one of local pruning, and as many of these as there are layers
    EVERYWHERE: _by_neurons_and_weights,
    ONE_LAYER: _in_one_layer,
    "layer by layer": _layer_by_layer,
}


def prune_cost(sizes: Sequence[int] = SIZES, rounds: int = 5, steps: Mapping[str, Step] | None = None) -> list[Cost]:
    """Seconds and bytes of each step (of STEPS without `steps`), from weights and counters to masks, at these sizes.

    The weights reported are those the four layers have, up to 4 % fewer than asked for. The counters are given:
    counting is part of training, and so is the next forward pass. One thread; small networks are pruned several times
    a round, so that a clock can tell. Bytes, the masks among them, are told on Linux only and from 10^6 weights on:
    below, they drown in what a process holds anyway. The default sizes take two to three minutes and 3.5 GB; the full
    sort of 10^8 weights, of 17 seconds, is not repeated five times.
    """
    if not sizes or min(sizes) < 10**4 or rounds < 1:
        raise InputError(f"sizes are {tuple(sizes)} and rounds={rounds}; give sizes of 10,000 or more, and a round")
    with _one_thread():
        return [cost for size in sizes for cost in _costs(scene(size), rounds, STEPS if steps is None else steps)]


def _costs(scene: Scene, rounds: int, steps: Mapping[str, Step]) -> Iterator[Cost]:
    """Every round runs each step, one after the other, so that a machine that slows down slows down all of them."""
    seconds: dict[str, list[float]] = {kind: [] for kind in steps}
    for number in range(rounds):
        for kind, step in steps.items():
            if sum(seconds[kind]) >= PATIENCE:
                continue
            before = _lowered_peak() if number == 0 else None
            seconds[kind].append(_seconds(step, scene))
            if before is not None and _large("bytes", scene.weights) and (more := _peak() - before) > 0:
                yield Cost(kind, scene.weights, "bytes", more)
    yield from (Cost(kind, scene.weights, "seconds", median(times)) for kind, times in seconds.items())


def _seconds(step: Step, scene: Scene) -> float:
    times = max(1, 10**6 // scene.weights)
    began = time.process_time()
    for _ in range(times):
        step(scene)
    return (time.process_time() - began) / times


def _lowered_peak() -> int | None:
    """The process's memory, in bytes, and its peak set back to it; None where the system cannot do that."""
    try:
        ctypes.CDLL(None).malloc_trim(0)  # what was freed would otherwise be used again without being seen
        (PROCESS / "clear_refs").write_text("5")
        return _peak()
    except (OSError, AttributeError, TypeError):
        return None


def _peak() -> int:
    found = re.search(r"VmHWM:\s*(\d+)", (PROCESS / "status").read_text())
    if found is None:
        raise OSError("no peak of memory is told")
    return 1024 * int(found[1])


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def exponent(rows: Collection[Cost], metric: str = "seconds") -> dict[str, Exponent]:
    """For each kind b of cost = a * W^b: the least-squares slope of log(cost) against log(W), and its 95 % interval.

    b ± t(0.975, k - 2) times its standard error, over the k sizes from 10^5 weights on for seconds and from 10^6 on
    for bytes; below, costs that do not depend on W would flatten the slope. W log W looks like a slope of about 1.07.
    """
    refuse_unless("metric", metric, LARGE)
    found: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        if row.metric == metric and _large(metric, row.weights) and row.value > 0:
            found.setdefault(row.kind, []).append((math.log(row.weights), math.log(row.value)))
    if not found or any(len(points) < 2 for points in found.values()):
        raise InputError(f"{metric!r} of too few sizes for a slope; measure two sizes of 1,000,000 weights or more")
    return {kind: _slope(points) for kind, points in found.items()}


def _large(metric: str, weights: int) -> bool:
    return weights >= 0.96 * LARGE[metric]  # a scene of so many has up to 4 % fewer


def _slope(points: list[tuple[float, float]]) -> Exponent:
    with optional("a slope"):
        from scipy.stats import linregress
        from scipy.stats import t as student

    line = linregress(*zip(*points, strict=True))
    if len(points) < 3:
        return Exponent(float(line.slope), None, None, len(points))
    half = float(student.ppf(0.975, len(points) - 2) * line.stderr)
    return Exponent(float(line.slope), float(line.slope) - half, float(line.slope) + half, len(points))


def write(rows: Collection[Cost], path: Path) -> None:
    """The rows as CSV (kind, weights, metric, value), in one step."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([Cost._fields, *rows])
    checkpoint.replace(path, text.getvalue().encode())


def read(path: Path) -> list[Cost]:
    """What `write` wrote."""
    try:
        head, *lines = csv.reader(io.StringIO(disk.read(path).decode()), strict=True)
        if tuple(head) != Cost._fields:
            raise ValueError(f"its columns are {', '.join(head)}")
        return [Cost(kind, read_whole(weights), metric, read_number(value)) for kind, weights, metric, value in lines]
    except (ValueError, csv.Error) as error:
        message = f"{path} has no costs that can be read ({brief(error)}); measure them again with prune_cost"
        raise InputError(message) from error


def as_rows(path: Path) -> Table:
    """What `write` wrote as rows of a table, which no trial made; none where there is no file."""
    about = {"trial": "cost", "row": "cost", "method": "", "task": "", "seed": 0, "step": 0, "epoch": 0, "phase": None}
    costs = read(path) if disk.there(path) else []
    return [about | {"split": c.kind, "metric": c.metric, "value": c.value, "weights": c.weights} for c in costs]
