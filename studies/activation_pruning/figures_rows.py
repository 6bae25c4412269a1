"""Figures of what the rows ended with: accuracy and zeros, controls, PCA, retraining, channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sapwood.study.beside import Kind, against_zeros, percent, side_by_side, with_differences
from sapwood.study.plots import BLACK, BLUE, GREY, NOT_RUN, ORANGE, WIDTH, absent, canvas, nothing
from sapwood.study.table import Summary, Table, difference, over_seeds

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
    """Test accuracy against the share of zeros."""
    return against_zeros(rows, KINDS, PRINTED_AT)


def controls(rows: Table, folder: Path) -> Figure:
    """Test accuracy of G1 and the controls, and how much each differs from G1, seed by seed."""
    return with_differences(rows, COMPARED, "G1")


def channels(rows: Table, folder: Path) -> Figure:
    """Test accuracy of the convolutional network, channels removed in three ways and not at all."""
    return side_by_side(rows, [*CHANNELS, K_DENSE])


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
        found = percent({label: gap for label, gap in gaps.items() if gap})
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
    zeros, dead = (percent(over_seeds(rows, metric, "network")) for metric in ("sparsity", "dead"))
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
