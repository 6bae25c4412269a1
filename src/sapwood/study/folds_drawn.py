"""Folds drawn: test error against compression, one panel for each family of methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sapwood.extras import optional
from sapwood.study.folds import Folds
from sapwood.study.plots import BLACK, BLUE, DASHED, DOTTED, GREY, ORANGE, WIDTH, Draw, canvas, nothing
from sapwood.study.possible import within
from sapwood.study.seeds import errors
from sapwood.study.table import Table, summary

if TYPE_CHECKING:  # drawing takes long to import, and most who read a study draw nothing
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINES: Any = (
    (BLACK, "-"), (BLUE, "-"), (ORANGE, "-"), (BLUE, DASHED), (ORANGE, DASHED), (GREY, DASHED), (GREY, DOTTED),
)  # fmt: skip


def drawn(curves: Folds, panels: Mapping[str, Sequence[str]]) -> Draw:
    """Test error against compression, both logarithmic; {title: methods in it}, four panels."""
    return partial(_drawn, curves, panels)


def _drawn(curves: Folds, panels: Mapping[str, Sequence[str]], rows: Table, folder: Path) -> Figure:
    if not curves.run(rows):
        return nothing()
    figure = canvas(WIDTH, 7.4)
    axes = figure.subplots(2, 2, sharex=True, sharey=True).flatten()
    for panel, (title, methods) in zip(axes, panels.items(), strict=True):
        _baseline(panel, errors(rows).get(curves.dense, {}))
        for method, (color, dash) in zip(methods, LINES, strict=False):
            _curve(panel, curves.errors(rows, method), color, dash, method)
        panel.set_title(title, loc="left")
        panel.legend(fontsize=7, loc="upper left")
        _scales(panel, curves.folds)
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
    seen = {fold: summary(seeds.values(), within(seeds)) for fold, seeds in found.items()}
    axes.plot(list(seen), [each.mean for each in seen.values()], color=color, ls=dash, lw=1.3, label=method)
    for fold, each in seen.items():
        if each.low is not None and each.high is not None:
            axes.plot([fold, fold], [max(each.low, 0.1), each.high], color=color, lw=0.8)


def _scales(axes: Axes, folds: Sequence[int]) -> None:
    with optional("a figure"):
        from matplotlib.ticker import NullFormatter, ScalarFormatter

    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_ylim(1, 100)
    axes.set_xticks(folds, [str(fold) for fold in folds], fontsize=6)
    axes.set_yticks((1, 2, 3, 5, 10, 20, 50, 90))
    axes.yaxis.set_major_formatter(ScalarFormatter())
    for each in (axes.xaxis, axes.yaxis):
        each.set_minor_formatter(NullFormatter())
    axes.grid(color="#dddddd", lw=0.5)
    axes.set_axisbelow(True)
