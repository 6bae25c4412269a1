"""Plots: the drawings that studies share, functions (rows, folder) -> matplotlib Figure, and what they are made of.

Lines differ in lightness and dash, not only in colour, so that they can be told apart in grey.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sapwood.extras import optional
from sapwood.study.maps import Map, maps
from sapwood.study.possible import within
from sapwood.study.table import Table, by_epoch, by_seed, goals, labels, summary
from sapwood.training.goal import ACCURACY

if TYPE_CHECKING:  # drawing takes long to import, and most who read a study draw nothing
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLACK, BLUE, ORANGE, GREY, PALE = "#000000", "#0072b2", "#e8a33d", "#8a8a8a", "#a9cbe3"
DASHED, DOTTED = (0, (4, 1.5)), (0, (1.2, 1.2))
LOOKS: Any = ((BLACK, "-"), (ORANGE, "-"), (BLUE, DASHED), (GREY, DOTTED))  # four lines that differ in grey
STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "svg.hashsalt": "sapwood",  # the same drawing gives the same file
}
WIDTH = 5.4  # inches; the page scales it, and a phone has room for little more than half of it
Draw = Callable[[Table, Path], "Figure"]
NOT_RUN = "not run at this scale"
NO_WEIGHTS = "these are kept results, which have no weights: run the study to see them"


def curves(rows: Table, folder: Path) -> Figure:
    """The goal (accuracy, mostly) and sparsity against the epoch, one panel for each arm of the study."""
    names, goal = labels(rows), goals(rows)[0]
    figure, panels = _panels(len(names), columns=2, height=1.75)
    for panel, label in zip(panels, names, strict=True):
        band(panel, by_epoch(rows, "sparsity", "network", label), ORANGE, "-", "sparsity", fill=True)
        band(panel, by_epoch(rows, goal.metric, "train", label), BLUE, DASHED, f"training {goal.metric}")
        band(panel, by_epoch(rows, goal.metric, "valid", label), BLACK, "-", f"validation {goal.metric}")
        panel.set_title(label, loc="left")
        panel.set_ylim(0, 1.02 if goal == ACCURACY else None)
        whole_epochs(panel)
    _label_outer(figure, panels, "epoch", "fraction" if goal == ACCURACY else f"fraction; {goal.unit}", columns=2)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def accuracies(rows: Table, folder: Path) -> Figure:
    """The goal (accuracy, mostly) of each arm on the test samples: every seed, the mean and its 95 % interval."""
    goal = goals(rows)[0]
    names, seeds = labels(rows), by_seed(rows, goal.metric, "test")
    figure = canvas(7, 0.9 + 0.36 * len(names))
    axes = figure.subplots()
    dots(axes, names, seeds, missing="")
    unit = "fraction of the test samples" if goal == ACCURACY else goal.unit
    axes.set_xlabel(f"test {goal.metric} ({unit})")
    return figure


def weight_maps(parameter: str) -> Draw:
    """Where a layer's weights are not 0 at the end, for the first seed of each arm."""

    def draw(rows: Table, folder: Path) -> Figure:
        found = {label: each[parameter] for label, each in maps(rows, folder).items() if parameter in each}
        if not found:
            return nothing(NO_WEIGHTS)
        figure, panels = _panels(len(found), columns=4, height=2.0)
        for panel, (label, alive) in zip(panels, found.items(), strict=False):
            bitmap(panel, alive)
            panel.set_title(f"{label}\nsparsity {1 - float(alive.mean()):.2f}", loc="left", fontsize=8)
        _label_outer(figure, panels, "input (number)", "neuron (number)", columns=4)
        return figure

    return draw


def canvas(width: float, height: float) -> Figure:
    """An empty figure of this many inches, whose parts make room for each other."""
    with optional("a figure"):
        from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def dots(
    axes: Axes,
    names: Sequence[str],
    values: Mapping[str, Collection[float] | Mapping[int, float]],
    missing: str = NOT_RUN,
) -> None:
    """A line for each name: circles for its values, a diamond for their mean, a bar for its 95 % interval.

    Values are numbers, or a number for each seed. Where there are none it says `missing` instead.
    """
    for place, label in enumerate(names):
        found = values.get(label, ())
        seen = list(found.values() if isinstance(found, Mapping) else found)
        mean, low, high, _ = summary(seen, within(found))
        if low is not None and high is not None:
            axes.plot([low, high], [place, place], color=BLACK, lw=1.2, marker="|", ms=7)
        if seen:
            axes.plot(seen, [place + 0.28] * len(seen), "o", mfc="white", mec=BLUE, ms=4, ls="")
            axes.plot([mean], [place], "D", color=BLACK, ms=6)
        else:
            axes.text(0.02, place, missing, transform=axes.get_yaxis_transform(), va="center", color=GREY, fontsize=8)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="x", color="#dddddd")
    axes.set_axisbelow(True)


def band(
    axes: Axes, values: Mapping[int, Sequence[float]], color: str, dash: Any, label: str, fill: bool = False
) -> None:
    """The mean over seeds against the epoch, and from the lowest to the highest seed.

    The line is thinner from where the first seed has ended: its mean is then over fewer.
    """
    epochs, lists = list(values), list(values.values())
    mean = [sum(each) / len(each) for each in lists]
    most = max(map(len, lists), default=0)
    whole = next((at for at, each in enumerate(lists) if len(each) < most), len(lists))
    axes.plot(epochs[:whole], mean[:whole], color=color, ls=dash, lw=1.3, label=label)
    if whole < len(lists):
        axes.plot(epochs[max(0, whole - 1) :], mean[max(0, whole - 1) :], color=color, ls=dash, lw=0.6)
    axes.fill_between(epochs, [min(v) for v in lists], [max(v) for v in lists], color=color, alpha=0.25, lw=0)
    if fill:
        axes.fill_between(epochs, 0, mean, color=color, alpha=0.18, lw=0)


def bitmap(axes: Axes, alive: Map) -> None:
    """A map: marked where it is True, its rows downwards, both axes numbered from 1."""
    with optional("a figure"):
        from matplotlib.colors import ListedColormap

    axes.imshow(
        alive,
        cmap=ListedColormap([(1, 1, 1, 0), (0, 0, 0, 1)]),  # clear, for a page that may be dark
        vmin=0,
        vmax=1,
        aspect="auto",
        interpolation_stage="rgba",  # where there are more weights than dots, a dot's grey is their share
        extent=(0.5, alive.shape[1] + 0.5, alive.shape[0] + 0.5, 0.5),
    )
    for spine in axes.spines.values():
        spine.set_visible(True)


def absent(axes: Axes, words: str = NOT_RUN) -> None:
    """An empty panel that says why it is empty."""
    axes.text(
        0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", color="#555555", fontsize=8, wrap=True
    )
    axes.set_xticks([])
    axes.set_yticks([])


def nothing(words: str = NOT_RUN) -> Figure:
    """A small figure that says why there is no other."""
    figure = canvas(WIDTH, 0.8)
    absent(figure.subplots(), words)
    return figure


def whole_epochs(axes: Axes) -> None:
    """Few ticks, at whole numbers."""
    with optional("a figure"):
        from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, steps=[1, 2, 5, 10]))


def _panels(count: int, columns: int, height: float) -> tuple[Figure, list[Axes]]:
    """So many panels with common axes; empty places are left out."""
    count, lines = max(1, count), max(1, -(-count // columns))
    figure = canvas(WIDTH, 0.6 + height * lines)
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


def maps_beside(parameter: str, parts: Mapping[str, Sequence[str]]) -> Draw:
    """One weight's map in several arms, {title: arms under it}: an input a line, a neuron a column."""
    names = [label for part in parts.values() for label in part]

    def draw(rows: Table, folder: Path) -> Figure:
        every = maps(rows, folder, names)
        found = {label: each[parameter] for label, each in every.items() if parameter in each}
        if not found:
            return nothing("the weights are not among these results")
        figure = canvas(WIDTH, 3.4)
        panels = figure.subplots(1, len(names), sharex=True, sharey=True)
        for axes, label in zip(panels, names, strict=True):
            part = next(part for part, labels in parts.items() if label in labels)
            title = f"{part}\n{label}" if label in parts[part][:1] else f"\n{label}"
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
