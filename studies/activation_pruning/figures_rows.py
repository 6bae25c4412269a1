"""Figures of what the rows ended with: accuracy and zeros, controls, PCA, retraining, channels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sapwood.study.plots import BLACK, BLUE, DOTTED, GREY, NOT_RUN, ORANGE, WIDTH, absent, canvas, dots, nothing
from sapwood.study.table import Summary, Table, by_seed, difference, over_seeds

from .printed import PRINTED
from .rows import AS_LONG, CHANNELS, CONTROLS, GLOBAL, K_DENSE, LOCAL, NARROW, PCA, PRUNED, RELEASED

if TYPE_CHECKING:  # drawing takes long to import, and most who read a study draw nothing
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COMPARED = ("G1", *CONTROLS, NARROW, AS_LONG)


def _printed(table: int, label: str, column: str) -> float:
    """A number that is in print; not one of the few that a table leaves out."""
    value = PRINTED[table][label][column]
    assert value is not None, (table, label, column)
    return value


PRINTED_AT = {  # zeros and test accuracy, %; M's zeros as Table 5 has them, since Table 4 rounds them
    label: (_printed(5, label, "zeros"), _printed(table, label, "accuracy test"))
    for table, labels in ((13, GLOBAL), (3, LOCAL), (4, ("M",)))
    for label in labels
}


class Kind(NamedTuple):
    """Rows that share a mark: how it looks, what the legend says."""

    words: str
    marker: str
    color: str
    rows: Sequence[str]


def _of(score: str, table: Mapping[str, Any], at: int) -> list[str]:
    return [label for label, row in table.items() if row[at] == score]


KINDS = (
    Kind("G, Neurons", "o", BLACK, _of("Neurons", GLOBAL, 1)),
    Kind("G, Neurons & Weights", "s", ORANGE, _of("Neurons & Weights", GLOBAL, 1)),
    Kind("L, Neurons", "^", BLACK, _of("Neurons", LOCAL, 0)),
    Kind("L, Neurons & Weights", "v", ORANGE, [*_of("Neurons & Weights", LOCAL, 0), RELEASED]),
    Kind("M", "D", BLUE, ["M"]),
)


def accuracy_against_zeros(rows: Table, folder: Path) -> Figure:
    """Test accuracy against the share of zeros: ours filled, the printed one open, a line between the two."""
    zeros, found = (_percent(over_seeds(rows, *which)) for which in (("sparsity", "network"), ("accuracy", "test")))
    ours = {label: (zeros[label], found[label]) for kind in KINDS for label in kind.rows if label in found}
    if not ours:
        return nothing()
    figure = canvas(WIDTH, 4.6)
    axes = figure.subplots()
    for kind in KINDS:
        for label in kind.rows:
            if label in ours:
                _beside_printed(axes, kind, label, *ours[label])
        axes.plot([], [], kind.marker, color=kind.color, label=kind.words)
    axes.plot([], [], "o", mfc="white", mec=GREY, label="printed (open)")
    axes.margins(x=0.09, y=0.12)
    _name(axes, {label: (x.mean, y.mean) for label, (x, y) in ours.items()}, 1, BLACK)
    _name(axes, {label: PRINTED_AT[label] for label in ours if label in PRINTED_AT}, -1, "#666666")
    axes.set_xlabel("zeros (% of all weights)")
    axes.set_ylabel("test accuracy (%)")
    axes.grid(color="#e6e6e6")
    axes.set_axisbelow(True)
    figure.legend(loc="outside upper center", ncols=3)
    return figure


def _beside_printed(axes: Axes, kind: Kind, label: str, zeros: Summary, found: Summary) -> None:
    if label in PRINTED_AT:
        x, y = PRINTED_AT[label]
        axes.plot([zeros.mean, x], [found.mean, y], color=GREY, lw=0.8, ls=DOTTED)
        axes.plot([x], [y], kind.marker, mfc="white", mec=kind.color, ms=6)
    if found.low is not None and found.high is not None:
        axes.plot([zeros.mean] * 2, [found.low, found.high], color=kind.color, lw=0.8, alpha=0.6)
    axes.plot([zeros.mean], [found.mean], kind.marker, color=kind.color, ms=6)


def _name(axes: Axes, points: Mapping[str, tuple[float, float]], side: int, color: str) -> None:
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


def controls(rows: Table, folder: Path) -> Figure:
    """Test accuracy of G1 and the controls, and how much each differs from G1, seed by seed."""
    found = _percent_by_seed(rows, COMPARED)
    if not found:
        return nothing()
    figure = canvas(WIDTH, 0.9 + 0.38 * len(COMPARED))
    left, right = figure.subplots(1, 2, sharey=True)
    dots(left, COMPARED, {label: seeds.values() for label, seeds in found.items()})
    gaps = {label: _gaps(found, label, "G1") for label in COMPARED[1:]}
    right.axvline(0, color=GREY, lw=0.8)
    dots(right, COMPARED, gaps | {"G1": [0.0]} if "G1" in found else {}, missing="")
    left.set_xlabel("test accuracy (%)")
    right.set_xlabel("minus G1, same seed (percentage points)")
    return figure


def channels(rows: Table, folder: Path) -> Figure:
    """Test accuracy of the convolutional network, channels removed in three ways and not at all."""
    names = [*CHANNELS, K_DENSE]
    found = _percent_by_seed(rows, names)
    if not found:
        return nothing()
    figure = canvas(WIDTH, 0.7 + 0.38 * len(names))
    axes = figure.subplots()
    dots(axes, names, {label: seeds.values() for label, seeds in found.items()})
    axes.set_xlabel("test accuracy (%)")
    return figure


def pca(rows: Table, folder: Path) -> Figure:
    """How far S falls when its layers are approximated at the ranks of each G row: at the printed ranks, at our own."""
    figure = canvas(WIDTH, 5.6)
    for axes, ranks in zip(figure.subplots(2, 1, sharex=True), ("printed ranks", "own ranks"), strict=True):
        kinds = [kind for kind in PCA if kind.startswith(ranks)]
        drawn = _approximated(axes, rows, kinds)
        if not drawn:
            absent(axes)
            continue
        if ranks == "printed ranks":
            axes.plot([place - 0.3 for place in range(len(GLOBAL))], _printed_drops(), "o",
                      mfc="white", mec=BLACK, label="printed (Table 13)")  # fmt: skip
        axes.axhline(0, color=GREY, lw=0.8)
        axes.set_title(f"S at {ranks.replace('own', 'our own')}", loc="left")
        axes.set_ylabel("test accuracy minus S's\n(percentage points)")
        axes.set_xticks(range(len(GLOBAL)), list(GLOBAL))
        axes.tick_params(labelbottom=True)
        axes.grid(axis="y", color="#dddddd")
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.1), ncols=5, fontsize=8, columnspacing=1, handletextpad=0.2)
    return figure


def _approximated(axes: Axes, rows: Table, kinds: Sequence[str]) -> bool:
    """The marks of the approximations and of the pruned network itself; whether any approximation was there."""
    looks = (("s", BLACK), ("v", GREY), ("D", BLUE), ("^", ORANGE))
    drawn = False
    for at, (kind, (marker, color)) in enumerate(zip([*kinds, ""], looks, strict=True)):
        names = {label: f"{label} PCA {kind}" if kind else label for label in GLOBAL}
        gaps = {label: difference(rows, "accuracy", "test", name, "S") for label, name in names.items()}
        found = _percent({label: gap for label, gap in gaps.items() if gap})
        places = [list(GLOBAL).index(label) + 0.15 * (at - 1) for label in found]
        for place, (_, low, high, _) in zip(places, found.values(), strict=True):
            if low is not None and high is not None:
                axes.plot([place] * 2, [low, high], color=color, lw=1)
        words = kind.partition(" ranks")[2].strip(", ") or "as it is" if kind else "the pruned row itself"
        axes.plot(
            places,
            [gap.mean for gap in found.values()],
            marker,
            color=color,
            ms=5,
            ls="",
            label=words if found else f"{words}: {NOT_RUN}",
        )
        drawn = drawn or bool(kind and found)
    return drawn


def _printed_drops() -> list[float]:
    return [_printed(13, label, "pca accuracy test") - _printed(12, "S", "accuracy test") for label in GLOBAL]


def retraining(rows: Table, folder: Path) -> Figure:
    """Zeros before and after training on without masks, and the share of weights in dead neurons."""
    zeros, dead = (_percent(over_seeds(rows, metric, "network")) for metric in ("sparsity", "dead"))
    names = list(PRUNED)
    if not any(f"{label} retrained" in zeros for label in names):
        return nothing()
    figure = canvas(WIDTH, 1.2 + 0.33 * len(names))
    axes = figure.subplots()
    for place, label in enumerate(names):
        _retrained(axes, place, zeros.get(label), zeros.get(f"{label} retrained"), dead.get(label))
    at = range(len(names))
    axes.plot(
        [_printed(7, label, "after zeros") for label in names],
        at,
        "o",
        mfc="white",
        mec=BLACK,
        ms=6,
        label="after, printed",
    )
    axes.set_yticks(at, names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(-2, 100)
    axes.grid(axis="x", color="#dddddd")
    axes.set_axisbelow(True)
    axes.set_xlabel("share of all weights (%)")
    handles = {name: line for line, name in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(list(handles.values()), list(handles), loc="outside upper center", ncols=2)
    return figure


def _retrained(axes: Axes, place: int, before: Summary | None, after: Summary | None, dead: Summary | None) -> None:
    if after is None:
        axes.text(0.98, place, NOT_RUN, transform=axes.get_yaxis_transform(), ha="right", va="center", fontsize=8)
        return
    axes.barh([place], [after.mean], color="#a9cbe3", height=0.62, label="zeros after retraining")
    if after.low is not None and after.high is not None:
        axes.plot([after.low, after.high], [place, place], color=BLUE, lw=1.2)
    if before is not None:
        axes.plot([before.mean], [place], "|", color=BLACK, ms=13, mew=2, label="zeros before")
    if dead is not None:
        axes.plot([dead.mean], [place], "D", color=ORANGE, mec=BLACK, mew=0.6, ms=5, label="in dead neurons, before")


def _percent(found: Mapping[str, Summary]) -> dict[str, Summary]:
    times = lambda value: None if value is None else 100 * value  # noqa: E731
    return {label: Summary(100 * s.mean, times(s.low), times(s.high), s.n) for label, s in found.items()}


def _percent_by_seed(rows: Table, names: Iterable[str]) -> dict[str, dict[int, float]]:
    found = by_seed(rows, "accuracy", "test")
    return {label: {s: 100 * value for s, value in found[label].items()} for label in names if label in found}


def _gaps(found: Mapping[str, Mapping[int, float]], label: str, other: str) -> list[float]:
    """Of one row to another, for every seed that both have."""
    one, two = found.get(label, {}), found.get(other, {})
    return [one[seed] - two[seed] for seed in one if seed in two]
