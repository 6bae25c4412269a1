"""Cycles: pruning a little at a time while training, each time the network has recovered from the last.

The parts that accuracy-triggered methods share: when a cycle is due, how many weights it takes, which ones.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from sapwood import processes
from sapwood.errors import InputError, refuse_unless
from sapwood.scoring.criterion import Criterion, score
from sapwood.scoring.evidence import Evidence
from sapwood.scoring.layers import chosen, prunable, weights
from sapwood.scoring.layout import matrix, shaped
from sapwood.scoring.observation import observe
from sapwood.selection import schedule, select
from sapwood.training import stopping
from sapwood.training.draws import luck
from sapwood.training.loop import Moment
from sapwood.training.run import Run

SETS = {"fresh": "train", "held out": "valid"}  # source -> the split that a set is drawn from, anew for each cycle
SOURCES = ("stream", "probe", *SETS)
AT_ONCE = 1024  # samples of a set that pass through the network together


def counts(
    run: Run, sparsity: float, cycles: int, *, shares: str = "geometric", base: float = 0.8, base_of: str = "all"
) -> tuple[int, ...]:
    """How many weights each cycle removes: floor(N * share), N the weights of all layers or of the hidden ones.

    Paper: Ganguli & Chong 2024; the authors' code takes the share of *all* kernels, the output's included.
    """
    refuse_unless("base_of", base_of, ("all", "prunable"))
    layers = prunable(run.model) if base_of == "all" else chosen(run.model, run.hidden())
    size = sum(layer.weight.numel() for layer in layers.values())
    divide = schedule.shares_named(shares)
    parts = schedule.geometric_shares(sparsity, cycles, base) if shares == "geometric" else divide(sparsity, cycles)
    return schedule.counts_of(parts, size)


class Pace:
    """When the next cycle falls: at a value of the task's goal, and, if asked for, when that is stuck or in time.

    plateau: epochs in which the running training goal is no better, after which a cycle falls in any case; wait: epochs
    since the last one; 0: for ever. What it counts is in the run's memory, so it survives an interruption.
    """

    def __init__(self, run: Run, *, plateau: int = 0, wait: int = 0) -> None:
        if plateau < 0:
            raise InputError(f"plateau is {plateau}; give the epochs to wait for a rise, or 0 to wait for ever")
        if wait < 0:
            raise InputError(f"wait is {wait}; give the epochs after which a cycle falls in any case, or 0 for never")
        self.run, self.plateau, self.wait = run, plateau, wait

    def due(self, now: Moment, mark: float) -> bool:
        """Whether a cycle falls now, at an epoch's end: the goal on training data is at `mark`, or it is time."""
        goal, memory = self.run.task.goal, self.run.memory
        value = goal.of(now.metrics, "train")
        waited = memory["waited"] = memory.get("waited", 0) + 1
        stuck = self.plateau > 0 and stopping.stale(
            self.run.store("plateau"), value, patience=self.plateau, higher_is_better=goal.up
        )
        return goal.reached(value, mark) or stuck or 0 < self.wait <= waited

    def begin(self) -> None:
        """Start waiting for the next cycle: forget what was counted."""
        for name in ("plateau", "waited"):
            self.run.memory.pop(name, None)


def probe(run: Run, criterion: Criterion, layers: Sequence[str], samples: int) -> Evidence:
    """Evidence of `layers` on `samples` training samples, drawn with replacement as a function of seed and step."""
    refuse_bad(probe=samples)
    training = run.task.data.train
    drawn = luck(run.seed, "probe", run.step)
    rows = torch.randint(len(training), (samples,), generator=drawn).to(run.device)
    return observe(run.model, [training.take(rows)], *criterion.needs, only=layers)


def counted(
    run: Run, criterion: Criterion, layers: Sequence[str], seen: Evidence, *, source: str, samples: int
) -> Evidence:
    """Evidence that a cycle judges by: what was `seen` while training, in all processes, or a set that is drawn now.

    The set: `samples` of a split, no sample twice, a function of seed and step. Their labels are not read unless
    `criterion` needs a loss.
    """
    if source not in SETS:
        return processes.add_up(seen) if source == "stream" else seen
    split = getattr(run.task.data, SETS[source])
    drawn = torch.randperm(len(split), generator=luck(run.seed, "set", run.step))[:samples].to(run.device)
    parts = (split.take(drawn[at : at + AT_ONCE]) for at in range(0, len(drawn), AT_ONCE))
    return observe(run.model, parts, *criterion.needs, only=layers)


def refuse_bad_source(run: Run, source: str, samples: int) -> None:
    """InputError now, not at the first cycle, if it is no source, or has fewer samples than a set of them is to have.

    Counted are all samples of all steps ("stream"), `probe` ones at each epoch's end ("probe"), or sets, see `SETS`.
    """
    refuse_unless("source", source, SOURCES)
    refuse_bad(probe=samples)
    if source in SETS and samples > (most := len(getattr(run.task.data, SETS[source]))):
        raise InputError(f"probe is {samples}, but source {source!r} has {most} samples, none of which is drawn twice; "
                         f"give at most {most}, which is all of them")  # fmt: skip


def refuse_bad(*, probe: int) -> None:
    """InputError for a bad number of samples now, not at the first cycle."""
    if probe < 1:
        raise InputError(f"probe is {probe}; give the number of training samples to look at, at least 1")


def gather(seen: Evidence, more: Evidence) -> None:
    """Add `more` to what was seen, in place."""
    for layer, sums in more.items():
        mine = seen.setdefault(layer, {})
        for name, value in sums.items():
            mine[name] = mine[name] + value if name in mine else value


def prune_lowest(
    run: Run,
    criterion: Criterion,
    seen: Evidence,
    layers: Sequence[str],
    count: int,
    *,
    per_neuron: bool = False,
    whole_neurons: bool = False,
) -> None:
    """Remove the `count` lowest-scored kept weights of `layers`, ranked together; of equal scores the first is removed.

    The highest-scored neuron of a layer (of a weight score: its highest weight) always stays, so that no layer goes
    silent; what that holds back is noted. `whole_neurons` spares the neuron that the count would cut in part.
    """
    scores = score(run.model, criterion, seen, only=layers, per_neuron=per_neuron)
    by_neuron = per_neuron or criterion.per == "output"
    of = {weight.parameter: weight.layer for weight in weights(run.model, layers)}
    least = {name: matrix(of[name], s).shape[1] if by_neuron else 1 for name, s in scores.items()}
    room = sum(max(0, _kept(run, name, s) - least[name]) for name, s in scores.items())
    if count > room:
        run.note(held_back=run.notes.get("held_back", 0) + count - room)
    keep = select.drop(scores, min(count, room), among=run.masks, least=least, ties="first goes")
    run.prune(run.masks | (_whole(keep, of) if whole_neurons else keep))


def _kept(run: Run, name: str, scores: Tensor) -> int:
    return int(torch.count_nonzero(run.masks[name])) if name in run.masks else scores.numel()


def _whole(keep: Mapping[str, Tensor], of: Mapping[str, nn.Module | None]) -> select.Keep:
    """Every neuron that keeps any of its incoming weights keeps all of them."""
    rows = {name: matrix(of[name], k) for name, k in keep.items()}
    return {name: shaped(of[name], k.any(1, keepdim=True).expand_as(k), keep[name]).clone() for name, k in rows.items()}
