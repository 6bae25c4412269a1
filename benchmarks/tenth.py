"""A tenth of a study's trials, stepped together in one process on one device: how long all of them would take.

Of the trials that need no other's results every n-th, so that they are a tenth of all; to their ends, or as far as
they come in some seconds. Rows, checkpoints, evaluations and what is measured at the end are those of `sapwood run`.
The time of the steps made here is scaled to all steps of the study, which its kept rows count.
"""

import csv
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

from sapwood.errors import InputError
from sapwood.trials.execution import Progress, run_into
from sapwood.trials.lockstep import Lockstep, together
from sapwood.trials.trial import Trial

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "studies" / "results" / "activation_pruning" / "rows.csv"


class Late(BaseException):
    """Enough was seen."""


@dataclass(frozen=True)
class Seen:
    """What was made, in how long."""

    trials: int
    over: int
    steps: float
    seconds: float
    failed: tuple[str, ...]
    plain: tuple[str, ...]  # why some were not captured

    def minutes(self, steps: float) -> float:
        """That so many steps would take."""
        return steps / self.steps * self.seconds / 60


def tenth() -> list[Trial]:
    """Of activation_pruning at scale paper."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    every = list(import_module("studies.activation_pruning.arms").trials("paper"))
    first = [trial for trial in every if not trial.uses]
    wanted = len(every) // 10
    return [first[number * len(first) // wanted] for number in range(wanted)]


def steps_kept() -> int:
    """How many steps the study's trials have made, by the rows that are kept."""
    last: dict[str, int] = {}
    with KEPT.open(encoding="utf-8") as rows:
        for row in csv.DictReader(rows):
            last[row["trial"]] = max(last.get(row["trial"], 0), int(row["step"]))
    return sum(last.values())


def seen(trials: Sequence[Trial], device: str, at_once: int, seconds: float) -> Seen:
    """Run them; InputError if their data is not there."""
    lockstep = Lockstep(device)
    every = {trial.id: lockstep.task(trial.task).steps_per_epoch for trial in trials}
    made, began, over, failed = dict.fromkeys(every, 0.0), time.perf_counter(), 0, list[str]()

    def tell(said: Progress) -> None:
        made[said.trial_id] = max(made[said.trial_id], said.epochs * every[said.trial_id])
        if time.perf_counter() - began > seconds:
            raise Late

    with TemporaryDirectory() as folder:
        job = partial(run_into, Path(folder), device=device, ways=lockstep.ways)
        try:
            for _, error in together(lockstep, at_once)(job, trials, tell):
                over += 1
                if error is not None:
                    failed.append(error)
        except Late:
            pass
        took = time.perf_counter() - began
    if not sum(made.values()):
        raise InputError(failed[0] if failed else "no trial came to the end of an epoch in time")
    return Seen(len(trials), over, sum(made.values()), took, tuple(failed), tuple(lockstep.plain.values()))
