"""Spectra tables: singular values at the end, courses beside each other, and what the first and last prune do."""

from collections.abc import Callable, Iterable, Sequence

from sapwood.study.columns import by_arm, mean, said, seeds, show
from sapwood.study.compared import CYCLES, GOAL, ZEROS
from sapwood.study.finals import Number, at_end, distance, goal_value, less, number_of, over
from sapwood.study.grid import Grid
from sapwood.study.seeds import Seeds, minus, summed_up
from sapwood.study.shrinking import shrunk
from sapwood.study.table import Table
from sapwood.study.words import told

QUANTITIES = ("nuclear", "effective_rank", "stable_rank")


def spectra(arms: Iterable[str], dense: str, layers: Sequence[int]) -> Callable[[Table], Grid]:
    """A builder of the table of how large singular values are at the end, relative to those of the arm `dense` with the
    same seed at the same epoch.
    """
    return by_arm(
        (dense, *arms), seeds(), CYCLES, ZEROS, GOAL,
        mean(f"minus {dense} ({{points}})", less(goal_value, dense), but=[dense]),
        *(mean(f"nuclear norm, layer {layer} (% of {dense})", _relative(f"nuclear_{layer}", dense), 1)
          for layer in layers),
        *(mean(f"effective rank, layer {layer} (number)", number_of(f"effective_rank_{layer}"), 1)
          for layer in layers),
    )  # fmt: skip


def _relative(metric: str, dense: str) -> Number:
    return lambda rows, arm: over(at_end(rows, arm, metric, scale=100), at_end(rows, dense, metric))


def distance_from(like: str, layers: Sequence[int], quantities: Sequence[str] = QUANTITIES) -> Number:
    """How far an arm's course is from that of `like`: see `finals.distance`."""
    return lambda rows, arm: distance(rows, like, arm, quantities, layers)


def closeness(like: str, arms: Iterable[str], yardstick: str, layers: Sequence[int]) -> Callable[[Table], Grid]:
    """A builder of the table of how far each arm's course is from that of `like`, and whether it is further than the
    yardstick's.
    """
    whole = distance_from(like, layers)
    gap = less(whole, yardstick)
    return by_arm(
        arms, seeds(whole), mean(f"distance from {like} (natural log)", whole, 3),
        *(mean(f"by {quantity.replace('_', ' ')} alone (natural log)", distance_from(like, layers, (quantity,)), 3)
          for quantity in QUANTITIES),
        mean(f"minus that of {yardstick} (natural log)", gap, 3, but=[yardstick]),
        said(f"than {yardstick}", gap, "further", "closer", but=[yardstick]),
    )  # fmt: skip


def steeper(prune: int) -> Number:
    """At the first prune (0) or the last (-1): the change of the smaller half minus that of the largest tenth."""
    return lambda rows, arm: minus(_small(rows, arm, prune), _large(rows, arm, prune))


def _large(rows: Table, arm: str, prune: int) -> Seeds:
    return shrunk(rows, arm, prune, 0.0, 0.1)


def _small(rows: Table, arm: str, prune: int) -> Seeds:
    return shrunk(rows, arm, prune, 0.5, 1.0)


def shrinking(arms: Iterable[str]) -> Callable[[Table], Grid]:
    """A builder of the table of how much the first prune and the last shrink large and small singular values."""
    names = tuple(arms)
    columns = ("arm", "when", "seeds (n)", "largest tenth (% change)", "smaller half (% change)",
               "smaller half minus largest tenth (points)", "the smaller half shrinks")  # fmt: skip

    def build(rows: Table) -> Grid:
        lines = []
        for arm in names:
            for which, prune in (("first", 0), ("last", -1)):
                large, small, gap = _large(rows, arm, prune), _small(rows, arm, prune), steeper(prune)(rows, arm)
                shown = (*map(show, (large, small, gap)), told(summed_up(gap), "less", "more"))
                lines.append((arm, f"{which} prune", str(len(large)), *shown))
        return Grid(columns, tuple(lines))

    return build
