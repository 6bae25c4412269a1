"""Shrinking: what a prune does to singular values, large and small ones apart.

Small ones shrink more under a weighted nuclear norm, all alike under a plain one. What is at or below 1e-3 before the
prune does not count.
"""

from collections.abc import Iterator, Mapping, Sequence

from sapwood.study.seeds import Seeds, once
from sapwood.study.table import Table, while_training

NOTHING_LEFT = 1e-3
Sigma = dict[int, dict[int, float]]  # layer -> index from 1 -> singular value


@once
def _sigmas(rows: Table) -> dict[tuple[str, int, int, str], Sigma]:
    """Arm, seed, step and "before prune" or "after prune" -> the singular values there."""
    found: dict[tuple[str, int, int, str], Sigma] = {}
    for row in while_training(rows):
        if row["split"] in ("before prune", "after prune") and row["value"] is not None:
            _, layer, index = row["metric"].split("_")
            at = found.setdefault((row["row"], row["seed"], row["step"], row["split"]), {})
            at.setdefault(int(layer), {})[int(index)] = row["value"]
    return found


def shrunk(rows: Table, label: str, prune: int, start: float, stop: float) -> Seeds:
    """Change, in percent, of the singular values from `start` to `stop` of their number (0: the largest, 1: the
    smallest), summed in each layer, then the mean over layers; at the first prune (0) or the last (-1).
    """
    found = _sigmas(rows)
    seeds = sorted({seed for row, seed, _, _ in found if row == label})
    changes = {seed: list(_changes(_prune(found, label, seed, prune), start, stop)) for seed in seeds}
    return {seed: sum(each) / len(each) for seed, each in changes.items() if each}


def _prune(found: Mapping[tuple[str, int, int, str], Sigma], label: str, seed: int, prune: int) -> tuple[Sigma, Sigma]:
    step = sorted({at for row, its, at, _ in found if (row, its) == (label, seed)})[prune]
    return found.get((label, seed, step, "before prune"), {}), found.get((label, seed, step, "after prune"), {})


def _changes(pair: tuple[Sigma, Sigma], start: float, stop: float) -> Iterator[float]:
    before, after = pair
    for layer in sorted(before):
        large_first = sorted(index for index, value in before.get(layer, {}).items() if value > NOTHING_LEFT)
        chosen = _part(large_first, start, stop)
        if chosen and layer in after:
            old, new = (sum(each[layer].get(index, 0.0) for index in chosen) for each in (before, after))
            yield 100 * (new / old - 1)


def _part(indices: Sequence[int], start: float, stop: float) -> Sequence[int]:
    """At least one where there is any."""
    first = int(len(indices) * start)
    return indices[first : max(first + 1, round(len(indices) * stop))]
