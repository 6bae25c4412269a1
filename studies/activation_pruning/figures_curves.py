"""Figures 2-5 and the trajectories of norms and ranks: what changes from epoch to epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sapwood.study.plots import (
    BLACK,
    BLUE,
    DASHED,
    DOTTED,
    GREY,
    LOOKS,
    NOT_RUN,
    ORANGE,
    WIDTH,
    absent,
    band,
    canvas,
    nothing,
    whole_epochs,
)
from sapwood.study.table import Table, by_epoch, over_seeds, while_training

from .rows import GLOBAL, PENALTIES, PRUNING, STRENGTHS, V_DENSE

if TYPE_CHECKING:  # drawing takes long to import, and most who read a study draw nothing
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Draw = Callable[[Table, Path], "Figure"]
Values = dict[int, list[float]]  # epoch -> one value a seed

BY_SCORE = {
    "(a) Neurons": [label for label, (_, score, _) in GLOBAL.items() if score == "Neurons"],
    "(b) Neurons & Weights": [label for label, (_, score, _) in GLOBAL.items() if score != "Neurons"],
}
BY_TARGET = {
    f"({letter}) target {target} %": [label for label, row in GLOBAL.items() if row[2] == target]
    for letter, target in (("a", 80), ("b", 85))
}
TRACED = (("nuclear", "nuclear norm"), ("effective_rank", "effective rank"))
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


def trajectories(looks: Mapping[str, Any]) -> Draw:
    """Nuclear norm and effective rank of each hidden layer, over those of V dense at the same epoch and seed."""

    def draw(rows: Table, folder: Path) -> Figure:
        ratios = dict(_ratios(rows, looks))
        layers = sorted({layer for _, _, layer in ratios})
        if not layers:
            return nothing()
        figure = canvas(WIDTH, 1.1 + 1.45 * len(layers))
        grid = figure.subplots(len(layers), len(TRACED), sharex=True, squeeze=False)
        for layer, line in zip(layers, grid, strict=True):
            for (metric, words), axes in zip(TRACED, line, strict=True):
                _trajectory(axes, {label: ratios.get((label, metric, layer), {}) for label in looks}, looks)
                axes.set_title(f"{words}, hidden layer {layer}", loc="left")
        for axes in grid[-1]:
            axes.set_xlabel("epoch (number)")
        figure.supylabel("ratio to dense, same epoch and seed (no unit)", fontsize=9)
        columns = 3 if len(looks) > 4 else 2
        figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=columns, fontsize=8)
        return figure

    return draw


def _trajectory(axes: Axes, found: Mapping[str, Values], looks: Mapping[str, tuple[str, Any]]) -> None:
    if not any(found.values()):
        absent(axes)
        return
    axes.axhline(1, color=GREY, lw=0.8, ls=DOTTED)
    for label, values in found.items():
        band(axes, values, *looks[label], label if values else f"{label}: {NOT_RUN}")
    axes.grid(axis="y", color="#dddddd")
    whole_epochs(axes)


def _ratios(rows: Table, wanted: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str, int], Values]]:
    """(row, metric, layer) -> the ratios to V dense, wherever both have a value and the dense one is not 0."""
    found = _by_seed_and_epoch(rows, {*wanted, V_DENSE})
    for (label, metric, layer), values in found.items():
        dense = found.get((V_DENSE, metric, layer), {})
        if label in wanted:
            ratios: Values = {}
            for at in sorted(set(values) & set(dense)):
                if dense[at]:
                    ratios.setdefault(at[0], []).append(values[at] / dense[at])
            yield (label, metric, layer), ratios


def _by_seed_and_epoch(rows: Table, wanted: set[str]) -> dict[tuple[str, str, int], dict[tuple[int, int], float]]:
    """(row, metric, layer) -> (epoch, seed) -> value, in one pass over rows that are many."""
    found: dict[tuple[str, str, int], dict[tuple[int, int], float]] = {}
    traced = {metric for metric, _ in TRACED}
    for row in while_training(rows):
        metric, _, layer = row["metric"].rpartition("_")
        if row["row"] in wanted and row["split"] == "network" and metric in traced and row["value"] is not None:
            found.setdefault((row["row"], metric, int(layer)), {})[row["epoch"], row["seed"]] = row["value"]
    return found
