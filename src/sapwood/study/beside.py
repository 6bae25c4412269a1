"""Beside: drawings of our numbers beside printed ones, and of differences between rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from sapwood.study.plots import BLACK, DOTTED, GREY, WIDTH, canvas, dots, nothing
from sapwood.study.table import Summary, Table, by_seed, over_seeds

if TYPE_CHECKING:  # drawing takes long to import, and most who read a study draw nothing
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Points = Mapping[str, tuple[float, float]]  # row -> share of zeros and accuracy, in percent


class Kind(NamedTuple):
    """Rows that share a mark: how it looks, what the legend says."""

    words: str
    marker: str
    color: str
    rows: Sequence[str]


def against_zeros(rows: Table, kinds: Sequence[Kind], printed: Points) -> Figure:
    """Test accuracy against the share of zeros: ours filled, the printed one open, a line between the two."""
    zeros, found = (percent(over_seeds(rows, *which)) for which in (("sparsity", "network"), ("accuracy", "test")))
    ours = {label: (zeros[label], found[label]) for kind in kinds for label in kind.rows if label in found}
    if not ours:
        return nothing()
    figure = canvas(WIDTH, 4.6)
    axes = figure.subplots()
    for kind in kinds:
        for label in kind.rows:
            if label in ours:
                _beside(axes, kind, printed.get(label), *ours[label])
        axes.plot([], [], kind.marker, color=kind.color, label=kind.words)
    axes.plot([], [], "o", mfc="white", mec=GREY, label="printed (open)")
    axes.margins(x=0.09, y=0.12)
    _name(axes, {label: (x.mean, y.mean) for label, (x, y) in ours.items()}, 1, BLACK)
    _name(axes, {label: printed[label] for label in ours if label in printed}, -1, "#666666")
    axes.set_xlabel("zeros (% of all weights)")
    axes.set_ylabel("test accuracy (%)")
    axes.grid(color="#e6e6e6")
    axes.set_axisbelow(True)
    figure.legend(loc="outside upper center", ncols=3)
    return figure


def _beside(axes: Axes, kind: Kind, printed: tuple[float, float] | None, zeros: Summary, found: Summary) -> None:
    if printed is not None:
        x, y = printed
        axes.plot([zeros.mean, x], [found.mean, y], color=GREY, lw=0.8, ls=DOTTED)
        axes.plot([x], [y], kind.marker, mfc="white", mec=kind.color, ms=6)
    if found.low is not None and found.high is not None:
        axes.plot([zeros.mean] * 2, [found.low, found.high], color=kind.color, lw=0.8, alpha=0.6)
    axes.plot([zeros.mean], [found.mean], kind.marker, color=kind.color, ms=6)


def _name(axes: Axes, points: Points, side: int, color: str) -> None:
    """The rows' names right (1) or left (-1) of their marks, moved where two would overlap; a hair leads back."""
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


def side_by_side(rows: Table, names: Sequence[str]) -> Figure:
    """Test accuracy of these rows: every seed, mean and interval."""
    found = percent_by_seed(rows, names)
    if not found:
        return nothing()
    figure = canvas(WIDTH, 0.7 + 0.38 * len(names))
    axes = figure.subplots()
    dots(axes, names, {label: seeds.values() for label, seeds in found.items()})
    axes.set_xlabel("test accuracy (%)")
    return figure


def with_differences(rows: Table, names: Sequence[str], reference: str) -> Figure:
    """Test accuracy of these rows, and how much each differs from the reference, the first of them, seed by seed."""
    found = percent_by_seed(rows, names)
    if not found:
        return nothing()
    figure = canvas(WIDTH, 0.9 + 0.38 * len(names))
    left, right = figure.subplots(1, 2, sharey=True)
    dots(left, names, {label: seeds.values() for label, seeds in found.items()})
    gaps = {label: gaps_to(found, label, reference) for label in names[1:]}
    right.axvline(0, color=GREY, lw=0.8)
    dots(right, names, gaps | {reference: [0.0]} if reference in found else {}, missing="")
    left.set_xlabel("test accuracy (%)")
    right.set_xlabel(f"minus {reference}, same seed (percentage points)")
    return figure


def percent(found: Mapping[str, Summary]) -> dict[str, Summary]:
    """Fractions in percent."""
    return {label: Summary(100 * s.mean, _hundredfold(s.low), _hundredfold(s.high), s.n) for label, s in found.items()}


def _hundredfold(value: float | None) -> float | None:
    return None if value is None else 100 * value


def percent_by_seed(rows: Table, names: Iterable[str]) -> dict[str, dict[int, float]]:
    """Test accuracy of these rows in percent, {row: {seed: accuracy}}; rows without any are left out."""
    found = by_seed(rows, "accuracy", "test")
    return {label: {s: 100 * value for s, value in found[label].items()} for label in names if label in found}


def gaps_to(found: Mapping[str, Mapping[int, float]], label: str, other: str) -> list[float]:
    """Differences of one row to another, for every seed that both have."""
    one, two = found.get(label, {}), found.get(other, {})
    return [one[seed] - two[seed] for seed in one if seed in two]
