"""Beside: drawings of our numbers beside printed ones, and of differences between arms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sapwood.study.finals import goal_value, less, zeros
from sapwood.study.plots import BLACK, DOTTED, GREY, WIDTH, Draw, canvas, dots, nothing
from sapwood.study.seeds import Seeds, summed_up
from sapwood.study.table import Summary, Table, goals
from sapwood.training.goal import ACCURACY

if TYPE_CHECKING:  # drawing takes long to import, and most who read a study draw nothing
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Points = Mapping[str, tuple[float, float]]  # arm -> share of zeros and what it is judged by


class Kind(NamedTuple):
    """Arms that share a mark: how it looks, what the legend says."""

    words: str
    marker: str
    color: str
    arms: Sequence[str]


def against_zeros(kinds: Sequence[Kind], printed: Points) -> Draw:
    """The goal on the test set against the share of zeros: ours filled, printed ones open, a line between the two."""

    def draw(rows: Table, folder: Path) -> Figure:
        every = [arm for kind in kinds for arm in kind.arms]
        measured = {arm: (summed_up(zeros(rows, arm)), summed_up(goal_value(rows, arm))) for arm in every}
        ours = {arm: (share, value) for arm, (share, value) in measured.items() if share and value}
        if not ours:
            return nothing()
        figure = canvas(WIDTH, 4.6)
        axes = figure.subplots()
        for kind in kinds:
            for arm in kind.arms:
                if arm in ours:
                    _beside(axes, kind, printed.get(arm), *ours[arm])
            axes.plot([], [], kind.marker, color=kind.color, label=kind.words)
        axes.plot([], [], "o", mfc="white", mec=GREY, label="printed (open)")
        axes.margins(x=0.09, y=0.12)
        _name(axes, {arm: (x.mean, y.mean) for arm, (x, y) in ours.items()}, 1, BLACK)
        _name(axes, {arm: printed[arm] for arm in ours if arm in printed}, -1, "#666666")
        axes.set_xlabel("zeros (% of all weights)")
        axes.set_ylabel(_judged_by(rows))
        axes.grid(color="#e6e6e6")
        axes.set_axisbelow(True)
        figure.legend(loc="outside upper center", ncols=3)
        return figure

    return draw


def _beside(axes: Axes, kind: Kind, printed: tuple[float, float] | None, zeros: Summary, found: Summary) -> None:
    if printed is not None:
        x, y = printed
        axes.plot([zeros.mean, x], [found.mean, y], color=GREY, lw=0.8, ls=DOTTED)
        axes.plot([x], [y], kind.marker, mfc="white", mec=kind.color, ms=6)
    if found.low is not None and found.high is not None:
        axes.plot([zeros.mean] * 2, [found.low, found.high], color=kind.color, lw=0.8, alpha=0.6)
    axes.plot([zeros.mean], [found.mean], kind.marker, color=kind.color, ms=6)


def _name(axes: Axes, points: Points, side: int, color: str) -> None:
    """The arms' names right (1) or left (-1) of their marks, moved where two would overlap; a hair leads back."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    room_x, room_y = (right - left) * 0.09, (top - bottom) * 0.045
    placed: list[tuple[float, float]] = []
    for label, (x, y) in sorted(points.items(), key=lambda item: item[1][1]):
        near = [height for other, height in placed if abs(x - other) < room_x]
        places = (y + sign * step * room_y / 2 for step in count() for sign in (1, -1))
        at = next(place for place in places if all(abs(place - height) > room_y * 0.99 for height in near))
        placed.append((x, at))
        axes.annotate(
            label,
            (x, y),
            (x + side * room_x * 0.17, at),
            fontsize=8,
            color=color,
            ha="left" if side > 0 else "right",
            va="center",
            arrowprops={"arrowstyle": "-", "lw": 0.5, "color": GREY, "shrinkA": 0, "shrinkB": 4},
            bbox={"fc": "white", "ec": "none", "pad": 0.6, "alpha": 0.75},
        )


def dotted(arms: Sequence[str]) -> Draw:
    """The goal of these arms on the test set: every seed, mean and interval."""

    def draw(rows: Table, folder: Path) -> Figure:
        found = _by_seed(rows, arms)
        if not found:
            return nothing()
        figure = canvas(WIDTH, 0.7 + 0.38 * len(arms))
        axes = figure.subplots()
        dots(axes, arms, found)
        axes.set_xlabel(_judged_by(rows))
        return figure

    return draw


def dotted_with_gaps(arms: Sequence[str], reference: str) -> Draw:
    """As `dotted`, and how much each arm differs from the reference, the first of them, seed by seed."""
    gap = less(goal_value, reference)

    def draw(rows: Table, folder: Path) -> Figure:
        found = _by_seed(rows, arms)
        if not found:
            return nothing()
        figure = canvas(WIDTH, 0.9 + 0.38 * len(arms))
        left, right = figure.subplots(1, 2, sharey=True)
        dots(left, arms, found)
        right.axvline(0, color=GREY, lw=0.8)
        gaps: dict[str, Any] = {arm: gap(rows, arm) for arm in arms if arm != reference}
        dots(right, arms, gaps | {reference: [0.0]} if reference in found else {}, missing="")
        left.set_xlabel(_judged_by(rows))
        right.set_xlabel(f"minus {reference}, same seed\n(percentage points)")
        return figure

    return draw


def _by_seed(rows: Table, arms: Iterable[str]) -> dict[str, Seeds]:
    return {arm: seeds for arm in arms if (seeds := goal_value(rows, arm))}


def _judged_by(rows: Table) -> str:
    goal = goals(rows)[0]
    return f"test {goal.metric} ({'%' if goal == ACCURACY else goal.unit})"
