"""Earlier: results that were made before a version rose stay in use, marked as such, until a trial is run again."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from sapwood.trials.folder import over
from sapwood.trials.trial import Trial


def as_found(trials: Iterable[Trial], folder: Path) -> list[Trial]:
    """The trials, each as of the versions before where `folder` has its results as of then, and none as of today."""
    found = []
    for trial in trials:
        earlier = trial.as_of(before=True)
        found.append(earlier if not over(folder / trial.id) and over(folder / earlier.id) else trial)
    return found


def both(trials: Iterable[Trial]) -> Iterator[str]:
    """The ids that the results of each trial may be filed under: today's, then the one before."""
    for trial in trials:
        yield from dict.fromkeys(trial.as_of(before=before).id for before in (False, True))


def in_words(trials: Iterable[Trial]) -> Iterator[str]:
    """A sentence about the trials that are as of the versions before; nothing if there are none."""
    every = list(trials)
    old = Counter(trial.identity["method"] for trial in every if trial.id != trial.as_of(before=False).id)
    if old:
        methods = ", ".join(f"{count} of {name}" for name, count in sorted(old.items()))
        yield (
            f"{sum(old.values())} of {len(every)} trials are as of the version before: they were made before a method, "
            f"theirs or that of a trial they use, or what their recipe draws, changed; not run again are {methods}."
        )
