"""Pruning: one call that makes a network smaller: scores, a choice within a target, a proof, and what was measured."""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from sapwood.ancestry import is_smaller
from sapwood.called import checked
from sapwood.currency import Keep
from sapwood.errors import InputError
from sapwood.export.asking import Evaluate, asked_of
from sapwood.export.build import built, bytes_and_parameters, emptied
from sapwood.export.caches import without_caches
from sapwood.export.engines import Asked, Engine, Runs, engine_of
from sapwood.export.hurried import in_time
from sapwood.export.offers import offer_of
from sapwood.export.pruned import Answers, Pruned, Sizes, Times
from sapwood.export.search import Search
from sapwood.export.shown import Looked, Loss
from sapwood.export.targets import KINDS, Target, target_of
from sapwood.export.timing import side_by_side
from sapwood.export.worth import NORM, By, worth
from sapwood.measure.example import Example
from sapwood.measure.norms import recalibrate as recalibrate_
from sapwood.scoring.batches import tried
from sapwood.shrinking.cost import bytes_of, parameters_of
from sapwood.shrinking.finding import couplings
from sapwood.shrinking.shrunk import Shrunk
from sapwood.shrinking.tracing.anatomy import Anatomy

KEPT = "keep= names"  # how the reason begins why a site stays that was asked to
UNITS = "prune removes whole units: give macs= or parameters=, the share that is left; hold removes single weights"
SAID = {  # what to give, and what instead of arguments that people try
    **dict.fromkeys(KINDS, "the share of it that may be left, above 0 and below 1, or a number above 1"),
    "by": "a criterion, its name, scores by parameter or by site, or what sensitivity() gives",
    "evidence": "what observe() gave, or a list of batches, or a DataLoader",
    "loss": "a function of outputs and batch that returns the sum of losses over the batch",
    "multiple": "a whole number of 1 or more, of which widths become multiples",
    "evaluate": "a function of a model that returns a number",
    "threads": "a whole number of 1 or more",
    "engine": "'pytorch' or 'onnxruntime', or a function that makes what is timed of a network and an example",
    "timing": "seconds, 0 or more",
    **dict.fromkeys(("sparsity", "amount", "ratio", "pruning_ratio", "density"), UNITS),
    "flops": "give macs=, the share of multiply-adds that is left",
}


@checked(**SAID)
def prune(
    model: nn.Module,
    example: Example,
    *,
    macs: float | None = None,
    parameters: float | None = None,
    bytes: float | None = None,
    ms: float | None = None,
    by: By = NORM,
    evidence: Looked | None = None,
    loss: Loss | None = None,
    multiple: int = 8,
    keep: Collection[str] = (),
    uniform: bool = False,
    lossy: bool = False,
    optimizer: Optimizer | None = None,
    recalibrate: Iterable[Any] | None = None,
    evaluate: Evaluate | None = None,
    engine: Asked = "pytorch",
    threads: int = 1,
    timing: float = 3.0,
) -> Pruned:
    """Make a smaller copy of `model` that meets a target; the `Pruned` that comes back prints itself as a table.

    Give one target: what may be left of `macs` (multiply-adds of one call on `example`), `parameters`, `bytes` (of
    parameters and buffers) or `ms` (milliseconds of that call), as a share below 1 or as a number. Whole units are
    removed: channels, neurons, heads, groups, units of recurrent layers, whatever `sites` finds. The copy is proven to
    equal `model` with the removed units as 0; `model` itself is left as it was.

    `by` is "norm", a criterion, its name, scores by parameter or by site, or what `sensitivity` gives. "norm" is the L2
    norm of all weights that touch a unit; in a site that all has to pass, the unit's share of the site's. A criterion
    that looks at data reads `evidence`, what `observe` gathered or the batches themselves; one that looks at gradients
    also asks `loss(outputs, batch)`, the sum of losses over a batch. The units with the lowest scores of the whole
    network are removed first; the best half of a site that all has to pass goes last, and the best quarter of one in a
    residual branch. With `uniform` every site loses the same share. Widths that change become multiples of `multiple`;
    one head or group is removed at a time where it has that many channels. A residual branch of thin convolutions,
    fewer than 64 channels between them, keeps 16 or goes whole: processors convolve 16 at a time.
    Modules and parameters named in `keep` keep their shapes. `lossy` also offers streams that a layer norm goes over:
    then no equality is claimed.

    Give the `optimizer` of `model` to get one for the copy, with its memory cut likewise. On the batches of
    `recalibrate` the statistics of batch norms are found anew. `evaluate(model)` returns a number; it is called before
    the cut, after it, and after recalibration. Both networks are timed side by side in `engine`, "pytorch" or
    "onnxruntime", on `threads` threads, for about `timing` seconds (0: not at all); or `engine` is a function, which of
    a network and the example makes what is called in place of it. For the target `ms`, networks of several sizes are
    built and timed, and the one that comes back was measured to be fast enough; widths that take as long as wider ones
    are not chosen.

    `example` is a tensor, a tuple of arguments, or a dict: of keywords, or of what forward's only argument reads.
    Batches are what `observe` takes; the first is tried before anything is cut.

    InputError: a target that is no share or number or cannot be met, a name in `keep` that is not there, a network of
    which nothing can be removed.

    >>> net, x = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 2)), torch.rand(1, 4)
    >>> prune(net, x, macs=0.5).model
    Sequential(
      (0): Linear(in_features=4, out_features=32, bias=True)
      (1): ReLU()
      (2): Linear(in_features=32, out_features=2, bias=True)
    )
    """
    target = target_of(macs=macs, parameters=parameters, bytes=bytes, ms=ms)
    if target.kind == "ms" and timing == 0:
        raise InputError("ms is a target that is measured, and timing is 0; give seconds to measure in")
    _refuse_misfits(model, recalibrate, evaluate, threads, timing)
    runs = engine_of(engine)
    batches = None if recalibrate is None else tried(model, recalibrate, "recalibrate()")
    with without_caches(model):
        anatomy = Anatomy(model, example)
        offer = offer_of(anatomy, keep=keep, multiple=multiple, lossy=lossy)
        scores = worth(
            model, offer.sites, by, evidence, whole=offer.whole, passed_by=offer.passed_by, loss=loss,
            example=anatomy.example,
        )  # fmt: skip
        offer = offer.only(scores)
        search = Search(anatomy, offer.without_branches() if uniform else offer, scores, uniform)
    before = None if evaluate is None else asked_of(evaluate, model)
    with without_caches(model) as restored:
        found = _found(_Stopwatch(search, target, optimizer, runs, threads, timing))
        restored(found.shrunk.model)
    answers = _answers(before, found.shrunk.model, evaluate, batches)
    asked = {pin.name for pin in search.offer.stays if pin.because.startswith(KEPT)}
    sites = tuple(s for s in couplings(anatomy, lossy=lossy).sites if s.name in found.keep or s.name in asked)
    return Pruned(
        found.shrunk.model,
        found.shrunk.optimizer,
        {s.name: found.keep.get(s.name, torch.ones(s.units, dtype=torch.bool)) for s in sites},
        sites,
        search.offer.stays,
        _sizes(search, {}),
        _sizes_after(search, found),
        found.times,
        answers,
        found.shrunk.difference,
        found.shrunk.proven,
        tuple(emptied(found.keep, search.offer.narrow).values()),
        first=not is_smaller(model),
    )


@dataclass(frozen=True)
class _Found:
    """A network that meets the target."""

    keep: Keep
    shrunk: Shrunk
    times: Times | None


@dataclass(frozen=True)
class _Stopwatch:
    """Builds the networks of a search, and times each beside the whole one."""

    search: Search
    target: Target
    optimizer: Optimizer | None
    engine: Engine
    threads: int
    seconds: float
    seen: list[Times] = field(default_factory=list)

    @cached_property
    def whole(self) -> Runs:
        """The network as it is, in the engine."""
        return self._running(self.search.anatomy.model)

    def quick(self, keep: Keep) -> float:
        """How much of the time that it may take a network takes, measured shortly."""
        return _used(self._timed(self._built(keep), self.seconds / 3), self.target)

    def sure(self, keep: Keep) -> float:
        """The same, measured for longer."""
        return _used(self._timed(self._built(keep), self.seconds), self.target)

    def ratio(self, one: Keep, other: Keep) -> float:
        """How many times as long the other network takes."""
        cases = [self._running(self._built(keep)) for keep in (one, other)]
        return self._beside(cases[0], cases[1], self.seconds / 2).left.median

    def made(self, keep: Keep) -> _Found | None:
        """The network, proven and measured once more; None if it is too slow this time."""
        found = self.proven(keep)
        return found if found.times is not None and _in_time(found.times, self.target) else None

    def proven(self, keep: Keep) -> _Found:
        """The network, whatever its time; not measured in 0 seconds."""
        shrunk = built(self.search.anatomy, keep, self.search.offer, optimizer=self.optimizer)
        return _Found(keep, shrunk, self._timed(shrunk.model, self.seconds) if self.seconds else None)

    def _built(self, keep: Keep) -> nn.Module:
        return built(self.search.anatomy, keep, self.search.offer, check=False).model

    def _running(self, model: nn.Module) -> Runs:
        return self.engine.of(model, self.search.anatomy.example, self.threads)

    def _timed(self, small: nn.Module, seconds: float) -> Times:
        self.seen.append(self._beside(self.whole, self._running(small), seconds))
        return self.seen[-1]

    def _beside(self, one: Runs, other: Runs, seconds: float) -> Times:
        wall = {} if self.engine.here else {"wall": True}
        times = side_by_side(one, other, self.search.anatomy.example, threads=self.threads, seconds=seconds, **wall)
        return times._replace(engine=self.engine.name)


def _found(watch: _Stopwatch) -> _Found:
    """The network that meets the target."""
    if watch.target.kind != "ms":
        return watch.proven(watch.search.within(watch.target))
    try:
        return in_time(watch.search, watch, watch.target)
    except InputError as error:
        raise InputError(f"{error}; {_fastest(watch.seen)}") from error


def _fastest(seen: Sequence[Times]) -> str:
    """The fastest network that was measured."""
    if not seen:
        return "nothing smaller was measured"
    best = min(seen, key=lambda times: times.after.median)
    return (
        f"the fastest that was measured took {1000 * best.after.median:.3f} ms, {100 * best.left.median:.0f} % of what "
        f"the network took beside it (batch {best.after.batch}, threads {best.after.threads}, "
        f"{best.engine}, {best.device})"
    )


def _in_time(times: Times, target: Target) -> bool:
    """Whether the smaller network was measured to be fast enough."""
    return _used(times, target) <= 1


def _used(times: Times, target: Target) -> float:
    """How much of the time that it may take the smaller network takes."""
    return (times.left.median if target.is_share else 1000 * times.after.median) / target.value


def _sizes(search: Search, keep: Keep) -> Sizes:
    """How large a network is with these units; exact, as all costs are of what is built."""
    parameters, size = (int(cost(search.anatomy, search.offer.sites)(keep)) for cost in (parameters_of, bytes_of))
    return Sizes(parameters, size, None if search.macs is None else int(search.macs(keep)))


def _sizes_after(search: Search, found: _Found) -> Sizes:
    """How large the smaller network is."""
    size, parameters = bytes_and_parameters(found.shrunk.model)
    return Sizes(parameters, size, None if search.macs is None else int(search.macs(found.keep)))


def _answers(
    before: float | None, small: nn.Module, evaluate: Evaluate | None, batches: Iterable[Any] | None
) -> Answers | None:
    """What `evaluate` says of the smaller network, which is recalibrated on batches if there are any."""
    after = None if evaluate is None else asked_of(evaluate, small)
    if batches is not None:
        recalibrate_(small, batches)
    if evaluate is None or before is None or after is None:
        return None
    return Answers(before, after, None if batches is None else asked_of(evaluate, small))


def _refuse_misfits(model: nn.Module, recalibrate: object, evaluate: object, threads: int, timing: float) -> None:
    """What can be seen to be wrong before anything is computed."""
    if evaluate is not None and not callable(evaluate):
        raise InputError(f"evaluate is {evaluate!r}; give a function of a model that returns a number")
    if recalibrate is not None and not any(
        isinstance(m, _BatchNorm) and m.track_running_stats for m in model.modules()
    ):
        raise InputError(f"recalibrate was given, and {type(model).__name__} has no batch norm; leave it out")
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise InputError(f"threads is {threads!r}; networks are timed with a whole number of 1 or more")
    if isinstance(timing, bool) or not isinstance(timing, int | float) or not 0 <= timing < math.inf:
        raise InputError(f"timing is {timing!r}; give seconds, 0 or more")
