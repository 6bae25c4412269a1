"""Courses drawn: what the task is judged by against the epoch, panels of up to four arms beside each other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sapwood.study.finals import zeros
from sapwood.study.plots import LOOKS, NOT_RUN, WIDTH, Draw, band, canvas, whole_epochs
from sapwood.study.seeds import summed_up
from sapwood.study.table import Table, by_epoch, goals
from sapwood.training.goal import ACCURACY

if TYPE_CHECKING:  # drawing takes long to import, and most who read a study draw nothing
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def courses(
    split: str, words: str, panels: Mapping[str, Mapping[str, str]], legend: str, lowest: float | None = None
) -> Draw:
    """The goal on `split` at each epoch, {panel: {arm: what the legend says of it}}, {} there for the zeros it reached.

    words: what the axis says; legend: the legends' title; lowest: where the axis of an accuracy begins.
    """

    def draw(rows: Table, folder: Path) -> Figure:
        goal = goals(rows)[0]
        figure = canvas(WIDTH, 3.9)
        row = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, (title, arms) in zip(row, panels.items(), strict=True):
            _panel(axes, rows, goal.metric, split, arms)
            if goal == ACCURACY:
                axes.set_ylim(lowest, 1.0)
            axes.legend(
                title=legend, loc="upper left", bbox_to_anchor=(-0.18, -0.17), fontsize=8, title_fontsize=8,
                alignment="left", handlelength=1.2, handletextpad=0.4,
            )  # fmt: skip
            axes.set_title(title, loc="left")
            axes.set_xlabel("epoch (number)")
        figure.axes[0].set_ylabel(f"{words} ({goal.unit})")
        return figure

    return draw


def _panel(axes: Axes, rows: Table, metric: str, split: str, arms: Mapping[str, str]) -> None:
    for (arm, words), (color, dash) in zip(arms.items(), LOOKS[: len(arms)], strict=True):
        found, achieved = by_epoch(rows, metric, split, arm), summed_up(zeros(rows, arm))
        share = f"{achieved.mean:.2f} %" if achieved else "unfinished" if found else NOT_RUN
        band(axes, found, color, dash, f"{arm}: {words.format(share)}")
    axes.grid(axis="y", color="#dddddd")
    whole_epochs(axes)
