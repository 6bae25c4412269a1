"""Trajectories: norms and ranks of the layers from epoch to epoch, relative to a dense arm's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sapwood.study.plots import DOTTED, GREY, NOT_RUN, WIDTH, Draw, absent, band, canvas, nothing, whole_epochs
from sapwood.study.table import Table, while_training

if TYPE_CHECKING:  # drawing takes long to import, and most who read a study draw nothing
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Values = dict[int, list[float]]  # epoch -> one value a seed
TRACED = (("nuclear", "nuclear norm"), ("effective_rank", "effective rank"))


def trajectories(looks: Mapping[str, Any], dense: str) -> Draw:
    """Nuclear norm and effective rank of each hidden layer, over those of the arm `dense` at the same epoch and seed.

    looks: {arm: (colour, dash)}, a line each.
    """

    def draw(rows: Table, folder: Path) -> Figure:
        ratios = dict(_ratios(rows, looks, dense))
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


def _ratios(rows: Table, wanted: Mapping[str, Any], reference: str) -> Iterator[tuple[tuple[str, str, int], Values]]:
    """(arm, metric, layer) -> the ratios to the reference, wherever both have a value and the dense one is not 0."""
    found = _by_seed_and_epoch(rows, {*wanted, reference})
    for (label, metric, layer), values in found.items():
        dense = found.get((reference, metric, layer), {})
        if label in wanted:
            ratios: Values = {}
            for at in sorted(set(values) & set(dense)):
                if dense[at]:
                    ratios.setdefault(at[0], []).append(values[at] / dense[at])
            yield (label, metric, layer), ratios


def _by_seed_and_epoch(rows: Table, wanted: set[str]) -> dict[tuple[str, str, int], dict[tuple[int, int], float]]:
    """(arm, metric, layer) -> (epoch, seed) -> value, in one pass over rows that are many."""
    found: dict[tuple[str, str, int], dict[tuple[int, int], float]] = {}
    traced = {metric for metric, _ in TRACED}
    for row in while_training(rows):
        metric, _, layer = row["metric"].rpartition("_")
        if row["row"] in wanted and row["split"] == "network" and metric in traced and row["value"] is not None:
            found.setdefault((row["row"], metric, int(layer)), {})[row["epoch"], row["seed"]] = row["value"]
    return found
