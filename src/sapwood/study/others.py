"""Others: what other people print of the same networks at like cuts, beside an arm of ours."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from sapwood.study.columns import show
from sapwood.study.finals import Number, epochs, goal_value
from sapwood.study.grid import NOTHING, Grid
from sapwood.study.table import Table

HEADS = ("printed", "times fewer multiply-adds", "accuracy (%)", "lost (points)", "after (epochs)", "ours (%)",
         "ours lost (points)", "ours after (epochs)")  # fmt: skip


class Line(NamedTuple):
    """One printed result: accuracies in percent of the test images."""

    network: str
    budget: str  # ours beside which it stands
    fewer: float  # times fewer multiply-adds
    method: str
    accuracy: float
    whole: float | None  # of the dense network that it was made of
    epochs: str = NOTHING


def in_print(
    lines: Sequence[Line], ours: Callable[[Table, str, str], str | None], lost: Number
) -> Callable[[Table], Grid]:
    """A builder of the table; `ours` gives the arm that stands beside a (network, budget), `lost` what it loses."""

    def build(rows: Table) -> Grid:
        cells = []
        for line in lines:
            arm = ours(rows, line.network, line.budget)
            mine = (show(goal_value(rows, arm)), show(lost(rows, arm)), show(epochs(rows, arm), 0)) if arm else ()
            away = NOTHING if line.whole is None else f"{line.whole - line.accuracy:.2f}"
            theirs = (f"{line.network}, {line.method}", f"{line.fewer:.2f}", f"{line.accuracy:.2f}", away, line.epochs)
            cells.append((*theirs, *(mine or (NOTHING,) * 3)))
        return Grid(HEADS, tuple(cells))

    return build
