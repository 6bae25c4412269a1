"""Perplexities: of language models that one pass has pruned, and how many times that of the dense model they are."""

from pathlib import Path
from statistics import fmean

from sapwood.study.finals import at_end
from sapwood.study.seeds import Seeds
from sapwood.study.table import Table
from sapwood.trials.folder import over, read_trial, sums


def perplexity(rows: Table, of: str) -> Seeds:
    """2 to the bits per token (of bytes, per byte) on the test text, for each draw."""
    return {draw: 2**bits for draw, bits in at_end(rows, of, "bits", "test").items()}


def times(rows: Table, of: str, dense: str) -> Seeds:
    """The perplexity over that of the arm `dense`, which knows no draws."""
    base = list(perplexity(rows, dense).values())
    return {draw: found / base[0] for draw, found in perplexity(rows, of).items()} if base else {}


def mean_of_times(rows: Table, of: str, dense: str) -> float | None:
    """The same, the mean over draws; None without rows."""
    found = times(rows, of, dense)
    return fmean(found.values()) if found else None


def paired(rows: Table, one: str, other: str, dense: str) -> dict[int, tuple[float, float]]:
    """Times dense of two arms, for the draws that both have."""
    first, second = (times(rows, of, dense) for of in (one, other))
    return {draw: (first[draw], second[draw]) for draw in sorted(first.keys() & second.keys())}


def seconds(folder: Path) -> Table:
    """How long each trial took, as rows."""
    said = [(read_trial(each), sums(each)) for each in sorted(folder.glob("*")) if over(each)]
    return [
        {"trial": about["id"], **{key: about[key] for key in ("row", "method", "task", "seed")}, "step": 0, "epoch": 0}
        | {"phase": None, "split": "network", "metric": "seconds", "value": found["seconds"]}
        for about, found in said
    ]
