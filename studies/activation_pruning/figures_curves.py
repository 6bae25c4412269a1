"""Figures 2-5: accuracy against the epoch; and how lines look that have a norm or rank against it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sapwood.study.plots import BLACK, BLUE, DASHED, LOOKS, NOT_RUN, ORANGE, WIDTH, band, canvas, whole_epochs
from sapwood.study.table import Table, by_epoch, over_seeds

from .rows import GLOBAL, PENALTIES, PRUNING, STRENGTHS

if TYPE_CHECKING:  # drawing takes long to import, and most who read a study draw nothing
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Draw = Callable[[Table, Path], "Figure"]

BY_SCORE = {
    "(a) Neurons": [label for label, (_, score, _) in GLOBAL.items() if score == "Neurons"],
    "(b) Neurons & Weights": [label for label, (_, score, _) in GLOBAL.items() if score != "Neurons"],
}
BY_TARGET = {
    f"({letter}) target {target} %": [label for label, row in GLOBAL.items() if row[2] == target]
    for letter, target in (("a", 80), ("b", 85))
}
SHADES = dict(zip(STRENGTHS, (ORANGE, BLUE, BLACK), strict=True))
PRUNING_LOOKS = dict(zip(PRUNING, LOOKS, strict=True))
PENALTY_LOOKS: dict[str, Any] = {
    label: (SHADES[float(options["strength"])], DASHED if options["weighted"] else "-")  # type: ignore[arg-type]
    for label, options in PENALTIES.items()
}


def accuracy_curves(split: str, words: str, panels: Mapping[str, list[str]], by: str) -> Draw:
    """Accuracy on `split` against the epoch, a line a row; `by`: what the legend says beside zeros and cycles."""

    def draw(rows: Table, folder: Path) -> Figure:
        figure = canvas(WIDTH, 3.9)
        for axes, (title, labels) in zip(figure.subplots(1, 2, sharey=True), panels.items(), strict=True):
            _panel(axes, rows, split, labels, by)
            axes.set_title(title, loc="left")
            axes.set_xlabel("epoch (number)")
        figure.axes[0].set_ylabel(f"{words} (fraction)")
        return figure

    return draw


def _panel(axes: Axes, rows: Table, split: str, labels: list[str], by: str) -> None:
    achieved = over_seeds(rows, "sparsity", "network")
    for label, (color, dash) in zip(labels, LOOKS, strict=True):
        cycles, score, target = GLOBAL[label]
        found = by_epoch(rows, "accuracy", split, label)
        share = f"{100 * achieved[label].mean:.2f} %" if label in achieved else "unfinished" if found else NOT_RUN
        band(axes, found, color, dash, f"{label}: {score if by == 'score' else f'{target} %'}, {share}, {cycles}")
    axes.set_ylim(0.5, 1.0)
    axes.grid(axis="y", color="#dddddd")
    whole_epochs(axes)
    axes.legend(
        title=f"row: {by}, achieved (mean), cycles",
        loc="upper left",
        bbox_to_anchor=(-0.05, -0.17),
        fontsize=8,
        alignment="left",
    )
