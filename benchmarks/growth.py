"""How cost grows: CPU seconds against size as a power law, whose exponent should be 1.1 at most.

A line for each: the exponent over the upper half of the sizes, three at least, with its 95 % interval; that of the last
step alone, of the least seconds. Small sizes are mostly fixed costs, so the lower half says little. Every round goes
through all sizes, up and down in turn, and gives a slope of its own: of the logarithm of the least of some tries over
that of the size. What slows the whole machine down slows down all sizes of a round; the interval is that of the mean
of the rounds' slopes. MISSED: the whole interval is above 1.1; "not told": a part of it is, and more rounds or a
quieter machine would tell. Beside it the exponent of the functions called, which no other program disturbs: where
that is 1 and the seconds rise faster, what is larger no longer fits into caches. Work inside of one call, such as
torch's, is not in that count. So some have a line "bare" beside them: the least that anybody would have to do, such as
torch's own kthvalue of the scores or its step without masks. What grows as fast as that grows by the machine: "beside
its bare" is the exponent of the quotient of the two, round by round, 0 or below where ours adds nothing that grows.
The collector of garbage is off while seconds are counted: one look of its at the largest size, and none at the next
smaller, is an exponent of its own. Trials lie in a temporary folder; a TMPDIR in memory, such as /dev/shm, leaves the
disk out.

Scores are ranked; networks of more and more layers are exported, run on ids, grouped into sites, shrunk without and
with a proof; more and more weights are held over a step of SGD; a study's rows are parsed, read in order, summed up and
written; half of its trials are found to be done when it goes on.

    python benchmarks/growth.py [--small] [--rounds=N] [NAME ...]
"""

import gc
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from cProfile import Profile
from dataclasses import dataclass
from math import isnan, log, sqrt
from pathlib import Path
from statistics import fmean, stdev

import torch
from torch import nn

from sapwood import hold, select, shrink, sites
from sapwood.cli import choosing
from sapwood.models.gpt import gpt
from sapwood.shrinking.tracing.anatomy import Anatomy
from sapwood.study.earlier import as_found
from sapwood.study.grid import overview
from sapwood.study.report import _others, _unfinished
from sapwood.study.table import over_seeds, read, write_csv
from sapwood.trials.folder import LENGTH, ending, finished, in_json, over
from sapwood.trials.provenance import provenance
from sapwood.trials.rows import Row, in_lines, rows_in
from sapwood.trials.trial import Trial

Run = Callable[[], object]
ONCE = ("export", "ids", "sites", "shrink without proof", "shrink with proof")  # kept by the anatomy, or long
Make = Callable[[int], Iterator[tuple[str, Run]]]  # for a size: what is measured, in order, each after those before
ROUNDS = 5
TRIES = 3  # of which the least counts; of what can be done once only there is one
MOST = 1.1
ENOUGH = 0.02  # CPU seconds: what takes less is done several times
BARE = {  # what to lay beside what
    "select.everywhere": "bare: kthvalue of each half",
    "hold and release": "bare: copy the weights",
    "held step": "bare: step",
    "parse rows": "bare: parse lines",
    "sum up rows": "bare: look at a column of rows",
    "scan at resume": "bare: look for a file of each trial",
    "scan for a report": "bare: look for a file of each trial",
}
T = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26, 10: 2.23}  # t(0.975, freedom)


@dataclass(frozen=True)
class Fitted:
    """An exponent and where it may lie."""

    exponent: float
    low: float
    high: float
    last: float
    calls: float = float("nan")  # exponent of the functions called

    def __str__(self) -> str:
        said = ", MISSED" if self.low > MOST else ", not told" if self.high > MOST else ""
        calls = "" if isnan(self.calls) else f", calls {self.calls:.2f}"
        return f"{self.exponent:.2f} [{self.low:.2f}, {self.high:.2f}]{said}, last step {self.last:.2f}{calls}"


def upper(sizes: Sequence[int]) -> int:
    """How many of the sizes count: the upper half of them, three at least where there are three."""
    return max(min(3, len(sizes)), (len(sizes) + 1) // 2)


def slope(sizes: Sequence[int], costs: Sequence[float]) -> float:
    """Of log(cost) over log(size), by least squares."""
    x, y = [log(n) for n in sizes], [log(cost) for cost in costs]
    middle, level = fmean(x), fmean(y)
    rise = sum((one - middle) * (other - level) for one, other in zip(x, y, strict=True))
    return rise / sum((one - middle) ** 2 for one in x)


def fitted(sizes: Sequence[int], rounds: Sequence[Sequence[float]], calls: Sequence[int] = ()) -> Fitted:
    """The mean of the rounds' slopes over the upper sizes; `rounds[i][j]`: round i at size j.

    `calls`: those counted at the upper sizes, or at all.
    """
    half = upper(sizes)
    slopes = [slope(sizes[-half:], each[-half:]) for each in rounds]
    freedom = len(slopes) - 1
    error = (
        T.get(freedom, 1.96 + 2.7 / max(freedom, 1)) * stdev(slopes) / sqrt(len(slopes)) if freedom else float("inf")
    )
    least = [min(column) for column in zip(*rounds, strict=True)]
    last = slope(sizes[-2:], least[-2:])
    counted = log(calls[-1] / calls[-half]) / log(sizes[-1] / sizes[-half]) if calls else float("nan")
    mean = fmean(slopes)
    return Fitted(mean, mean - error, mean + error, last, counted)


def seconds(run: Run, *, once: bool) -> float:
    """CPU seconds of a run: the least of some tries, each of several runs where one takes little; of one if `once`."""
    return min(_tried(run, once) for _ in range(1 if once else TRIES))


def _tried(run: Run, once: bool) -> float:
    gc.collect()
    gc.disable()  # as timeit does: it looks at all that there is, once in a while, whoever is at work then
    try:
        began, count, taken = time.process_time(), 0, 0.0
        while not count or (taken < ENOUGH and not once):
            run()
            count, taken = count + 1, time.process_time() - began
    finally:
        gc.enable()
    return max(taken / count, 1e-9)


def called(run: Run) -> int:
    """Functions that a run calls, Python's and those of C."""
    profile = Profile()
    profile.runcall(run)
    return sum(entry.callcount for entry in profile.getstats())


def scores(count: int) -> Iterator[tuple[str, Run]]:
    """Half of the scores go, everywhere."""
    given = {"a": torch.rand(count // 2), "b": torch.rand(count - count // 2)}
    yield "bare: kthvalue of each half", lambda: [scores.kthvalue(len(scores) // 2) for scores in given.values()]
    yield "select.everywhere", lambda: select.everywhere(given, 0.5)


def layers(count: int) -> Iterator[tuple[str, Run]]:
    """A narrow decoder from its graph to a smaller one."""
    model = gpt(symbols=16, context=8, width=16, heads=2, blocks=count).eval()
    anatomy = Anatomy(model, torch.arange(8)[None])
    yield "export", lambda: anatomy.graph
    yield "ids", lambda: anatomy.runs()
    yield "sites", lambda: sites(anatomy)
    keep = {site.name: torch.arange(site.units) < (site.units + 1) // 2 for site in sites(anatomy)}
    yield "shrink without proof", lambda: shrink(anatomy, keep, check=False)
    yield "shrink with proof", lambda: shrink(anatomy, keep)


def parameters(count: int) -> Iterator[tuple[str, Run]]:
    """A held model takes a step."""
    width = max(4, round(sqrt(count / 4)))
    model = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(4))
    masks = {name: torch.rand(p.shape) < 0.5 for name, p in model.named_parameters()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    yield "bare: step", lambda: optimizer.step()
    yield "bare: copy the weights", lambda: [p.detach().clone() for p in model.parameters()]
    yield "hold and release", lambda: hold(model, optimizer, masks).release()
    with hold(model, optimizer, masks):
        yield "held step", lambda: optimizer.step()


def rows(count: int) -> Iterator[tuple[str, Run]]:
    """A study's rows from the folders of its trials to a table and a file: 100 a trial, the last of them at its end."""
    found = [Row(n, n // 10, None if n % 100 == 99 else 0, "test", "accuracy", 0.5) for n in range(count)]
    lines = in_lines(*found)
    yield "bare: parse lines", lambda: [json.loads(line) for line in lines.splitlines()]
    yield "parse rows", lambda: rows_in(lines, Path("rows.jsonl"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        every = [Trial.make("dense", "mlp_digits", seed) for seed in range(max(1, count // 100))]
        for number, trial in enumerate(every):
            _write(trial, folder / trial.id, found[100 * number : 100 * (number + 1)])
        ids = [trial.id for trial in every]
        yield "all of it: read rows in order, sum up, write", lambda: _all(folder, ids)
        yield "read rows in order", lambda: read(folder, ids)
        table = read(folder, ids)
        yield "bare: look at a column of rows", lambda: [row["phase"] for row in table]
        yield "sum up rows", lambda: over_seeds(table, "accuracy", "test")
        yield "write rows", lambda: write_csv(table, folder / "rows.csv")


def _all(folder: Path, ids: Sequence[str]) -> None:
    """What a report does with rows before it draws: the sums of all columns of its overview, and rows.csv."""
    table = read(folder, ids)
    overview(table)
    write_csv(table, folder / "rows.csv")


def _write(trial: Trial, folder: Path, rows: Sequence[Row]) -> None:
    """A trial that is over, as its folder has it."""
    about = {"id": trial.id, "row": trial.arm, "method": trial.method, "task": trial.task, "seed": trial.seed}
    options = {"options": trial.all_options() | dict(trial.recipe), "identity": trial.identity}
    folder.mkdir()
    (folder / "trial.json").write_bytes(in_json(about | options | {"data": "", "provenance": [provenance("cpu")]}))
    (folder / "rows.jsonl").write_bytes(in_lines(*rows))
    (folder / "done").write_bytes(in_json(ending(dict.fromkeys(LENGTH, 1), in_lines(*rows))))


def trials(count: int) -> Iterator[tuple[str, Run]]:
    """A run that goes on: every other trial is done, and lies in its folder."""
    found = [Trial.make("dense", "mlp_digits", seed) for seed in range(count)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, trial in enumerate(found):
            (folder / trial.id).mkdir()
            for file in ("trial.json", *(("done", "weights.safetensors") if number % 2 else ())):
                (folder / trial.id / file).write_text(json.dumps({}), "utf-8")
        yield "bare: look for a file of each trial", lambda: [(folder / trial.id / "done").exists() for trial in found]
        yield "scan at resume", lambda: scanned(found, folder)
        ids = [trial.id for trial in found]
        yield "scan for a report", lambda: (_unfinished(found, folder), _others(ids, folder))


def scanned(every: Sequence[Trial], folder: Path) -> list[Trial]:
    """What `run` looks at before it starts: what is there, what is missing, what is not run again."""
    chosen = as_found(every, folder)
    waiting = choosing.with_needed(
        chosen, lambda trial: over(folder / trial.id), lambda trial: finished(folder / trial.id)
    )
    return choosing.without(chosen, waiting)


SUBJECTS: dict[str, tuple[Make, Sequence[int], Sequence[int]]] = {  # sizes, small ones
    "scores": (scores, (10**4, 10**5, 10**6, 10**7, 10**8), (100, 200)),
    "layers": (layers, (10, 25, 63, 160, 400), (1, 2)),
    "parameters": (parameters, (10**4, 10**5, 10**6, 10**7, 10**8), (100, 200)),
    "rows": (rows, (10**2, 10**3, 10**4, 10**5), (100, 200)),
    "trials": (trials, (10, 100, 1000, 10**4), (4, 8)),
}


def figures(name: str, *, small: bool = False, rounds: int = ROUNDS) -> Iterator[tuple[str, Fitted]]:
    """(what, its exponent) of a subject; sizes are gone through up and down in turn, round after round."""
    make, large, few = SUBJECTS[name]
    sizes = few if small else large
    taken: dict[str, list[dict[int, float]]] = {}
    for number in range(rounds):
        for size in sizes if number % 2 == 0 else sizes[::-1]:
            for what, run in make(size):
                costs = taken.setdefault(what, [{} for _ in range(rounds)])
                costs[number][size] = seconds(run, once=what in ONCE)
    counts: dict[str, list[int]] = {}
    for size in sizes[-upper(sizes) :]:
        for what, run in make(size):
            counts.setdefault(what, []).append(called(run))
    for what, every in taken.items():
        yield what, fitted(sizes, [[costs[size] for size in sizes] for costs in every], counts[what])
        if (bare := taken.get(BARE.get(what, ""))) is not None:
            both = zip(every, bare, strict=True)
            yield f"{what}, beside its bare", fitted(sizes, [[a[size] / b[size] for size in sizes] for a, b in both])


def main(given: Sequence[str]) -> None:
    """Print the figures asked for."""
    torch.set_num_threads(1)
    rounds = next((int(each.removeprefix("--rounds=")) for each in given if each.startswith("--rounds=")), ROUNDS)
    asked = [name for name in given if not name.startswith("--")] or [*SUBJECTS]
    if unknown := [name for name in asked if name not in SUBJECTS]:
        raise SystemExit(f"{unknown[0]!r} is none of {', '.join(SUBJECTS)}")
    for name in asked:
        _, large, few = SUBJECTS[name]
        sizes = few if "--small" in given else large
        for what, found in figures(name, small="--small" in given, rounds=rounds):
            print(f"{what}, {sizes[0]:g} to {sizes[-1]:g} {name}: exponent {found}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
