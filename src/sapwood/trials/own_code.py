"""Own code: the files outside sapwood that a trial runs, and what they were when it did.

A trial's identity has names only, so it stays finished when the code behind a name of one's own is edited. A digest of
the file in its provenance lets `sapwood run` say so. Files that those import are not looked at.
"""

import inspect
from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from sapwood import disk
from sapwood.criteria import CRITERIA
from sapwood.methods import METHODS
from sapwood.tasks import TASKS
from sapwood.trials.trial import Trial

PACKAGE = Path(__file__).parents[1]


def own_code(trial: Trial) -> str:
    """Name and digest of each file with the trial's method, criterion or task that is not sapwood's; "" if none is.

    "slow.py 0f3a5b7c9d1e, tasks.py 2c4e6a8b0d1f": names without their folders.
    """
    files = sorted({path for thing in _things(trial) if (path := _file_of(thing)) and PACKAGE not in path.parents})
    return ", ".join(f"{path.name} {sha256(disk.read(path)).hexdigest()[:12]}" for path in files)


def changed(before: str, now: str) -> list[str]:
    """The names of the files of which `before` and `now`, both from `own_code`, have other digests."""
    earlier, later = ({entry.rpartition(" ")[::2] for entry in text.split(", ") if entry} for text in (before, now))
    return sorted({name for name, _ in later - earlier} & {name for name, _ in earlier})


def _things(trial: Trial) -> Iterator[Any]:
    yield METHODS.get(trial.method)
    yield TASKS.get(trial.task)
    criterion = trial.all_options().get("criterion")
    if isinstance(criterion, str) and criterion in CRITERIA:
        yield CRITERIA[criterion].score


def _file_of(thing: Any) -> Path | None:
    """The file in which a function is written; None of what is written nowhere."""
    while isinstance(thing, partial):
        thing = thing.func
    code = getattr(inspect.unwrap(thing), "__code__", None) if callable(thing) else None
    path = Path(code.co_filename).resolve() if code else None
    return path if path and path.is_file() else None
