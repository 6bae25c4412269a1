"""Gaps drawn: how far arms lie from a reference, seed by seed, several kinds of arms at each place of an axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sapwood.study.finals import goal_value, less
from sapwood.study.plots import BLACK, BLUE, GREY, NOT_RUN, ORANGE, WIDTH, Draw, absent, canvas
from sapwood.study.seeds import summed_up
from sapwood.study.table import Table, goals

if TYPE_CHECKING:  # drawing takes long to import, and most who read a study draw nothing
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKS = (("s", BLACK), ("v", GREY), ("D", BLUE), ("^", ORANGE))
ITSELF = "{}"  # the arm that a place is called after


class Panel(NamedTuple):
    """A panel's title, up to four kinds of arms, {words: name with {} for the place}, and what is printed at places."""

    title: str
    kinds: Mapping[str, str]
    printed: Mapping[str, float] = {}
    called: str = "printed"


def gaps(places: Sequence[str], panels: Sequence[Panel], reference: str) -> Draw:
    """The goal on the test set of each arm minus the reference's, seed by seed: the mean and its 95 % interval."""

    def draw(rows: Table, folder: Path) -> Figure:
        figure = canvas(WIDTH, 2.8 * len(panels))
        column = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        for axes, panel in zip(column, panels, strict=True):
            _panel(axes, rows, places, panel, reference)
        return figure

    return draw


def _panel(axes: Axes, rows: Table, places: Sequence[str], panel: Panel, reference: str) -> None:
    drawn = [
        _kind(axes, rows, words, {place: name.format(place) for place in places}, reference, at) and name != ITSELF
        for at, (words, name) in enumerate(panel.kinds.items())
    ]
    if not any(drawn):
        absent(axes)
        return
    if panel.printed:
        at = [places.index(place) - 0.3 for place in panel.printed]
        axes.plot(at, list(panel.printed.values()), "o", mfc="white", mec=BLACK, label=panel.called)
    axes.axhline(0, color=GREY, lw=0.8)
    axes.set_title(panel.title, loc="left")
    axes.set_ylabel(f"test {goals(rows)[0].metric} minus {reference}'s\n(percentage points)")
    axes.set_xticks(range(len(places)), places)
    axes.tick_params(labelbottom=True)
    axes.grid(axis="y", color="#dddddd")
    axes.legend(loc="upper left", bbox_to_anchor=(0, -0.1), ncols=3, fontsize=8, columnspacing=1, handletextpad=0.2)


def _kind(axes: Axes, rows: Table, words: str, arms: Mapping[str, str], reference: str, at: int) -> bool:
    """The marks of one kind of arms; whether any of them has been run."""
    marker, color = MARKS[at]
    gap = less(goal_value, reference)
    found = {place: summed_up(gap(rows, arm)) for place, arm in enumerate(arms.values())}
    known = {place + 0.15 * (at - 1): each for place, each in found.items() if each}
    for place, (_, low, high, _) in known.items():
        if low is not None and high is not None:
            axes.plot([place] * 2, [low, high], color=color, lw=1)
    label = words if known else f"{words}: {NOT_RUN}"
    axes.plot(list(known), [each.mean for each in known.values()], marker, color=color, ms=5, ls="", label=label)
    return bool(known)
