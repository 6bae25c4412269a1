"""Last run: when the results that a study keeps were made, at which commit, on what, and how long that took."""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from sapwood.errors import InputError
from sapwood.trials.archive import read_trials

HOUR, MINUTE = 3600, 60


def last_run(archive: Path) -> str:
    """One sentence about the trials kept in the folder `archive`, for the study's docstring; a test compares the two.

    InputError if nothing is kept there, or if trials.csv was edited.
    """
    kept = read_trials(archive)
    if not kept:
        raise InputError(f"{archive} keeps no trial; run its study and keep it with report --keep")
    lives = sorted((life for each in kept for life in each.about["provenance"]), key=lambda life: life["started"])
    days = _ends(life["started"][:10] for life in lives)
    commits = _ends(life["commit"] or "unknown" for life in lives)
    count = len({life["commit"] for life in lives})
    devices = sorted({f"{life['device']}, threads: {life['threads']}" for life in lives})
    at = f"at {count} commits, {commits}" if count > 1 else f"at commit {commits}"
    took = _words(sum(each.sums["seconds"] for each in kept))
    return f"Last run: {days}, {at}, on {' and '.join(devices)}; {len(kept)} trials, {took} of computing."


def commits(archive: Path) -> set[str]:
    """The commits that the trials kept in `archive` were run at, without those that are not known."""
    lives = [life for each in read_trials(archive) for life in each.about["provenance"]]
    return {life["commit"].removesuffix("+changes") for life in lives if life["commit"]}


def older(archive: Path, than: str) -> list[str]:
    """The trials kept in `archive` that began before a time, as "ARM, seed SEED": rules set then do not precede them.

    `than` is an ISO time with its offset, such as "2026-11-29T03:30:00+00:00". Of a trial that was interrupted its
    first life counts.
    """
    set_at = datetime.fromisoformat(than)
    if set_at.tzinfo is None:
        raise InputError(f"the time is {than!r}; give it with its offset, as in {than}+00:00")
    return [
        f"{each.about['row']}, seed {each.about['seed']}"
        for each in read_trials(archive)
        if min(datetime.fromisoformat(life["started"]) for life in each.about["provenance"]) < set_at
    ]


def _ends(values: Iterable[str]) -> str:
    """The first and the last."""
    every = list(values)
    return every[0] if every[0] == every[-1] else f"{every[0]} to {every[-1]}"


def _words(seconds: float) -> str:
    return f"{seconds / HOUR:.1f} hours" if seconds >= HOUR else f"{seconds / MINUTE:.1f} minutes"
