"""Figures 6 and A9-A11: which weights of a hidden layer are not 0, pruned and then trained on without masks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sapwood.study.maps import maps
from sapwood.study.plots import WIDTH, absent, bitmap, canvas, nothing
from sapwood.study.table import Table

if TYPE_CHECKING:  # drawing takes long to import, and most who read a study draw nothing
    from matplotlib.figure import Figure

PARTS = {"(a) pruned": ("G1", "M"), "(b) trained on": ("G1 retrained", "M retrained")}
ROWS = tuple(label for part in PARTS.values() for label in part)
PARAMETERS = tuple(f"hidden{layer}.weight" for layer in (1, 2, 3, 4))  # with ROWS, what `keep_maps` is to keep
NO_WEIGHTS = "the weights are not among these results"


def layer_maps(layer: int) -> Callable[[Table, Path], Figure]:
    """One hidden layer's map in the four networks, as the paper has it: an input a line, a neuron a column."""

    def draw(rows: Table, folder: Path) -> Figure:
        every = maps(rows, folder, ROWS)
        found = {label: every[label][PARAMETERS[layer - 1]] for label in every if PARAMETERS[layer - 1] in every[label]}
        if not found:
            return nothing(NO_WEIGHTS)
        figure = canvas(WIDTH, 3.4)
        panels = figure.subplots(1, len(ROWS), sharex=True, sharey=True)
        for axes, label in zip(panels, ROWS, strict=True):
            part = next(part for part, labels in PARTS.items() if label in labels)
            title = f"{part}\n{label}" if label in PARTS[part][:1] else f"\n{label}"
            if label in found:
                bitmap(axes, found[label].T)
                title += f"\n{100 * (1 - float(found[label].mean())):.1f} % zeros"
            else:
                absent(axes, "not there")
            axes.set_title(title, loc="left")
            axes.set_xlabel("neuron (number)")
        panels[0].set_ylabel("input (number)")
        return figure

    return draw
