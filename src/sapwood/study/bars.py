"""Bars drawn: a share of each arm before and after something, a third number beside it, and what is printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sapwood.study.finals import Number
from sapwood.study.plots import BLACK, BLUE, NOT_RUN, ORANGE, PALE, WIDTH, Draw, canvas, nothing
from sapwood.study.seeds import summed_up
from sapwood.study.table import Summary, Table

if TYPE_CHECKING:  # drawing takes long to import, and most who read a study draw nothing
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Named = tuple[str, Number]  # what the legend says, and the number, in percent


def bars(
    arms: Sequence[str],
    *,
    after: Named,
    before: Named,
    beside: Named,
    printed: tuple[str, Mapping[str, float]],
    axis: str,
) -> Draw:
    """A bar for `after` with its 95 % interval, a stroke for `before`, a diamond for `beside`, a circle for `printed`.

    `axis` says of what these are shares. An arm without `after` says that it was not run.
    """

    def draw(rows: Table, folder: Path) -> Figure:
        named = (after, before, beside)
        found = {arm: [(words, summed_up(number(rows, arm))) for words, number in named] for arm in arms}
        if not any(each[0][1] for each in found.values()):
            return nothing()
        figure = canvas(WIDTH, 1.2 + 0.33 * len(arms))
        axes = figure.subplots()
        for place, each in enumerate(found.values()):
            _arm(axes, place, *each)
        words, values = printed
        axes.plot([values[arm] for arm in arms], range(len(arms)), "o", mfc="white", mec=BLACK, ms=6, label=words)
        axes.set_yticks(range(len(arms)), arms)
        axes.set_ylim(len(arms) - 0.4, -0.6)
        axes.set_xlim(-2, 100)
        axes.grid(axis="x", color="#dddddd")
        axes.set_axisbelow(True)
        axes.set_xlabel(axis)
        handles = {name: line for line, name in zip(*axes.get_legend_handles_labels(), strict=True)}
        figure.legend(list(handles.values()), list(handles), loc="outside upper center", ncols=2)
        return figure

    return draw


Known = tuple[str, Summary | None]


def _arm(axes: Axes, place: int, after: Known, before: Known, beside: Known) -> None:
    words, end = after
    if end is None:
        axes.text(0.98, place, NOT_RUN, transform=axes.get_yaxis_transform(), ha="right", va="center", fontsize=8)
        return
    axes.barh([place], [end.mean], color=PALE, height=0.62, label=words)
    if end.low is not None and end.high is not None:
        axes.plot([end.low, end.high], [place, place], color=BLUE, lw=1.2)
    words, start = before
    if start is not None:
        axes.plot([start.mean], [place], "|", color=BLACK, ms=13, mew=2, label=words)
    words, third = beside
    if third is not None:
        axes.plot([third.mean], [place], "D", color=ORANGE, mec=BLACK, mew=0.6, ms=5, label=words)
