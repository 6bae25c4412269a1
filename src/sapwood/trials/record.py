"""Record: what is written down while a trial runs - rows as they come, its state every so often, its best network."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from sapwood.training import checkpoint
from sapwood.training.loop import Moment
from sapwood.training.rebuild import Cut
from sapwood.training.run import Run
from sapwood.trials.best import Best
from sapwood.trials.final import Measure
from sapwood.trials.rows import Row, RowFile
from sapwood.trials.trace import Trace

Final = Callable[[Run], Iterable[tuple[str, str, float]]]  # (split, metric, value) ...
State = Mapping[str, Any]


class Save(NamedTuple):
    """Where the state goes, and how many seconds may pass between two saves."""

    path: Path
    every: float


class Record:
    """Writes a run's rows as they come, and its state every so often."""

    def __init__(
        self, run: Run, rows: RowFile, save: Save, traces: Sequence[Trace], kept: Sequence[Row], saved: State | None
    ) -> None:
        self.run, self.rows, self.save, self.traces = run, rows, save, traces
        # From the rows, not from the state: a prune between a moment and the save after it has no row yet.
        self.round = max((int(r.value or 0) for r in kept if (r.split, r.metric) == ("prune", "round")), default=0)
        self.phase: int = saved["phase"] if saved else 0
        self.before: float = saved.get("seconds", 0.0) if saved else 0.0
        self.best = Best.restored(saved["best"] if saved else {})
        self.traced: dict[int, list[Measure]] = {}  # at prunes that have no row yet, by round
        self.began = self.saved = time.monotonic()
        run.between = self.between
        run.pruning = self.pruning if traces else None

    def see(self, moment: Moment) -> None:
        """What a moment has to say: epochs' metrics, and that there was a prune."""
        self.phase = moment.phase
        self._pruned()
        if moment.ends_epoch:
            named = ((*name.partition("_")[::2], value) for name, value in moment.metrics.items())
            standing = (("network", "sparsity", self.run.sparsity()), ("network", "round", float(self.run.round)))
            traced = (each for trace in self.traces for each in trace.at_epoch(self.run))
            self.rows.write(*(self._row(*each) for each in (*named, *standing, *traced)))
            self.best = self.best.after(self.run, moment)

    def pruning(self, run: Run, masks: Mapping[str, Tensor]) -> None:
        """The network as it was trained, just before `masks` change it; its rows come with the prune's, and once."""
        self.traced[run.round + 1] = [each for trace in self.traces for each in trace.at_prune(run, masks)]

    def between(self, run: Run) -> None:
        """All that followed from a step has been done: time to save, now and then."""
        self._pruned()
        if time.monotonic() - self.saved >= self.save.every:
            self.rows.settle()
            more = {"seconds": self._seconds(), "best": self.best.state()}
            checkpoint.write(self.save.path, run.state() | more)
            self.saved = time.monotonic()

    def end(self, final: Final) -> None:
        """The rows of the trial's end."""
        self._pruned()
        measures = (*final(self.run), *self.best.measures(self.run))
        self.rows.write(*(self._row(*each)._replace(phase=None) for each in measures))
        self.rows.settle()

    def sums(self) -> dict[str, float]:
        """Seconds spent (what an interruption lost does not count), steps, epochs."""
        return {"seconds": round(self._seconds(), 3), "steps": self.run.step, "epochs": self._epoch()}

    def _pruned(self) -> None:
        """If there was a prune since this was last called, it is written down."""
        if self.run.round != self.round:
            # Not those of prunes that are replayed, which have earlier rounds.
            traced = [each for round_, found in self.traced.items() if round_ > self.round for each in found]
            cuts = [each for cut in self.run.cuts if cut.round > self.round for each in _told(cut)]
            self.round = self.run.round
            now = (("prune", "round", float(self.round)), ("prune", "sparsity", self.run.sparsity()))
            self.rows.write(*(self._row(*each) for each in (*traced, *now, *cuts)))
        self.traced = {}

    def _row(self, split: str, metric: str, value: float) -> Row:
        return Row(self.run.step, self._epoch(), self.phase, split, metric, value)

    def _epoch(self) -> int:
        return -(-self.run.step // self.run.task.steps_per_epoch)

    def _seconds(self) -> float:
        return self.before + time.monotonic() - self.began


def _told(cut: Cut) -> Iterator[Measure]:
    """The size of the network that was built, and how many units are not in it."""
    yield Measure("prune", "units", float(cut.units))
    yield Measure("prune", "parameters", float(cut.size.parameters))
    yield Measure("prune", "macs", float(cut.size.macs))
