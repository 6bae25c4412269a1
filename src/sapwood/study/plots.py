"""Plots: the drawings that studies share. Every one is a function (rows, folder) -> matplotlib Figure.

Lines differ in lightness and dash, not only in colour, so that they can be told apart in grey.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sapwood import checkpoint
from sapwood.study.table import Table, by_epoch, by_seed, final, labels, over_seeds

BLACK, BLUE, ORANGE, GREY = "#000000", "#0072b2", "#e8a33d", "#8a8a8a"
STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "svg.hashsalt": "sapwood",  # the same drawing gives the same file
}


def curves(rows: Table, folder: Path) -> Figure:
    """Accuracy and sparsity against the epoch, one panel per row of the study."""
    names = labels(rows)
    figure, panels = _panels(len(names), columns=2, height=1.75)
    for panel, label in zip(panels, names, strict=True):
        _band(panel, by_epoch(rows, "sparsity", "network", label), ORANGE, "-", "sparsity", fill=True)
        _band(panel, by_epoch(rows, "accuracy", "train", label), BLUE, (0, (4, 1.5)), "training accuracy")
        _band(panel, by_epoch(rows, "accuracy", "valid", label), BLACK, "-", "validation accuracy")
        panel.set_title(label, loc="left")
        panel.set_ylim(0, 1.02)
        panel.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, steps=[1, 2, 5, 10]))
    _label_outer(figure, panels, "epoch", "fraction", columns=2)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def accuracies(rows: Table, folder: Path) -> Figure:
    """Test accuracy of each row: every seed, the mean and its 95 % interval."""
    names, means = labels(rows), over_seeds(rows, "accuracy", "test")
    seeds = by_seed(rows, "accuracy", "test")
    figure = Figure(figsize=(7, 0.9 + 0.36 * len(names)), layout="constrained")
    axes = figure.subplots()
    for place, label in enumerate(names):
        if label in means:
            mean, low, high, _ = means[label]
            if low is not None and high is not None:
                axes.plot([low, high], [place, place], color=BLACK, lw=1.2, marker="|", ms=7)
            values = list(seeds[label].values())
            axes.plot(values, [place + 0.28] * len(values), "o", mfc="white", mec=BLUE, ms=4, ls="")
            axes.plot([mean], [place], "D", color=BLACK, ms=6)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="x", color="#dddddd")
    axes.set_axisbelow(True)
    axes.set_xlabel("test accuracy (fraction of the test samples)")
    return figure


def weight_maps(parameter: str) -> Callable[[Table, Path], Figure]:
    """Where a layer's weights are not 0 at the end, for the first seed of each row."""

    def draw(rows: Table, folder: Path) -> Figure:
        first = {row["row"]: row["trial"] for row in reversed(final(rows))}
        found = {label: _weights(folder / first[label], parameter) for label in labels(rows) if label in first}
        maps = {label: w for label, w in found.items() if w is not None}
        figure, panels = _panels(len(maps), columns=4, height=2.0)
        for panel, (label, w) in zip(panels, maps.items(), strict=False):
            alive = w != 0
            panel.imshow(
                alive,
                cmap=ListedColormap(["white", "black"]),
                vmin=0,
                vmax=1,
                aspect="auto",
                interpolation_stage="rgba",  # where there are more weights than dots, a dot's grey is their share
                extent=(0.5, w.shape[1] + 0.5, w.shape[0] + 0.5, 0.5),
            )
            panel.set_title(f"{label}\nsparsity {1 - float(alive.mean()):.2f}", loc="left", fontsize=8)
            for spine in panel.spines.values():
                spine.set_visible(True)
        _label_outer(figure, panels, "input (number)", "neuron (number)", columns=4)
        return figure

    return draw


def _panels(count: int, columns: int, height: float) -> tuple[Figure, list[Axes]]:
    """So many panels with common axes; empty places are left out."""
    count, lines = max(1, count), max(1, -(-count // columns))
    figure = Figure(figsize=(7.2, 0.6 + height * lines), layout="constrained")
    every = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).flatten().tolist()
    for spare in every[count:]:
        spare.remove()
    return figure, every[:count]


def _label_outer(figure: Figure, panels: Sequence[Axes], x: str, y: str, columns: int) -> None:
    """Labels where a panel has no neighbour below or to its left."""
    for at, panel in enumerate(panels):
        lowest, leftmost = at + columns >= len(panels), at % columns == 0
        panel.tick_params(labelbottom=lowest, labelleft=leftmost)
        panel.set_xlabel(x if lowest else "")
        panel.set_ylabel(y if leftmost else "")


def _band(axes: Axes, values: dict[int, list[float]], color: str, dash: Any, label: str, fill: bool = False) -> None:
    """The mean over seeds, and from the lowest to the highest seed."""
    epochs, lists = list(values), list(values.values())
    mean = [sum(each) / len(each) for each in lists]
    axes.plot(epochs, mean, color=color, ls=dash, lw=1.3, label=label)
    axes.fill_between(epochs, [min(v) for v in lists], [max(v) for v in lists], color=color, alpha=0.25, lw=0)
    if fill:
        axes.fill_between(epochs, 0, mean, color=color, alpha=0.18, lw=0)


def _weights(trial: Path, parameter: str) -> Any:
    """The parameter as a NumPy matrix, [outputs, inputs]; None while the trial has not finished."""
    if not (trial / "done").exists():
        return None
    network = checkpoint.read(trial / "weights.safetensors")["model"]
    return network[parameter].flatten(1).numpy() if parameter in network else None
