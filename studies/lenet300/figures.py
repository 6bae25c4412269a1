"""Figures: error against compression, one panel for each family of methods."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sapwood.study.plots import BLACK, BLUE, DASHED, DOTTED, GREY, ORANGE, WIDTH, canvas, nothing
from sapwood.study.seeds import errors
from sapwood.study.study import Figure as Drawing
from sapwood.study.table import Table, summary

from .found import at_folds, run
from .rates import DENSE
from .rows import FOLDS

if TYPE_CHECKING:  # drawing takes long to import, and most who read a study draw nothing
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = {
    "(a) while training": (
        "gradual magnitude", "gradual magnitude, ERK", "gradual LAMP", "iterative magnitude", "dynamic surgery",
        "variational dropout", "lottery ticket",
    ),
    "(b) by activation": (
        "gradual magnitude", "global activation, N", "global activation, N & W", "local activation, N",
        "local activation, N & W",
    ),
    "(c) from the beginning": ("gradual magnitude", "SNIP", "GraSP", "SynFlow", "RigL", "SET"),
    "(d) controls": (
        "gradual magnitude", "one-shot magnitude", "ticket, reinitialised", "ticket, mask shuffled", "random mask",
        "random mask, ERK", "narrow dense",
    ),
}  # fmt: skip
LINES: Any = (
    (BLACK, "-"), (BLUE, "-"), (ORANGE, "-"), (BLUE, DASHED), (ORANGE, DASHED), (GREY, DASHED), (GREY, DOTTED),
)  # fmt: skip


def curves(rows: Table, folder: Path) -> Figure:
    """Test error against compression, both logarithmic."""
    if not run(rows):
        return nothing()
    figure = canvas(WIDTH, 7.4)
    axes = figure.subplots(2, 2, sharex=True, sharey=True).flatten()
    for panel, (title, methods) in zip(axes, PANELS.items(), strict=True):
        _baseline(panel, errors(rows).get(DENSE, {}))
        for method, (color, dash) in zip(methods, LINES, strict=False):
            _curve(panel, at_folds(rows, method), color, dash, method)
        panel.set_title(title, loc="left")
        panel.legend(fontsize=7, loc="upper left")
        _scales(panel)
    for panel in axes[2:]:
        panel.set_xlabel("weights before / after, as asked for")
    for panel in axes[::2]:
        panel.set_ylabel("test error (%)")
    return figure


def _baseline(axes: Axes, dense: Mapping[int, float]) -> None:
    if dense:
        mean = summary(dense.values()).mean
        axes.axhline(mean, color=GREY, lw=0.8)
        axes.axhline(mean + 0.5, color=GREY, lw=0.5, ls=DOTTED)


def _curve(axes: Axes, found: Mapping[int, Mapping[int, float]], color: str, dash: Any, method: str) -> None:
    """The mean, and a bar for its 95 % interval."""
    if not found:
        return
    seen = {fold: summary(seeds.values()) for fold, seeds in found.items()}
    axes.plot(list(seen), [each.mean for each in seen.values()], color=color, ls=dash, lw=1.3, label=method)
    for fold, each in seen.items():
        if each.low is not None and each.high is not None:
            axes.plot([fold, fold], [max(each.low, 0.1), each.high], color=color, lw=0.8)


def _scales(axes: Axes) -> None:
    from matplotlib.ticker import NullFormatter, ScalarFormatter

    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_ylim(1, 100)
    axes.set_xticks(FOLDS, [str(fold) for fold in FOLDS], fontsize=7)
    axes.set_yticks((1, 2, 3, 5, 10, 20, 50, 90))
    axes.yaxis.set_major_formatter(ScalarFormatter())
    for each in (axes.xaxis, axes.yaxis):
        each.set_minor_formatter(NullFormatter())
    axes.grid(color="#dddddd", lw=0.5)
    axes.set_axisbelow(True)


FIGURES = (
    Drawing(
        "Error against compression",
        "Means over seeds, bars: 95 % intervals. Grey line: the dense network; dotted: half a point above it. Black in "
        "every panel: gradual magnitude with one ranking over all layers. Points that fell short of the compression "
        "asked for are left out.",
        curves,
    ),
)
