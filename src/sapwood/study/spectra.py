"""Spectra: drawings of how far each prune lowers each singular value of an arm, beside what it does to a control's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sapwood.study.plots import BLACK, DASHED, GREY, NOT_RUN, WIDTH, Draw, absent, canvas, nothing
from sapwood.study.table import Table, goals

if TYPE_CHECKING:  # drawing takes long to import, and most who read a study draw nothing
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ZERO = 1e-3  # singular values after a prune up to here count as 0
Sigma = dict[int, list[float]]  # hidden layer, from 1 -> its singular values, largest first
Arms = dict[str, "Prune | None"]  # arm -> one of its prunes; the last is the arm itself, and drawn on top
LOOKS: Any = (("#9a9a9a", DASHED), (BLACK, "-"))  # of the control, of the arm


@dataclass
class Prune:
    """One prune of one trial: singular values just before and after it, and what was known then."""

    epoch: int
    before: Sigma = field(default_factory=dict)
    after: Sigma = field(default_factory=dict)
    judged: tuple[str, float] | None = None  # the goal and its value on the training samples in the epoch it ends
    sparsity: float | None = None  # of all weights, after the prune


def prunes(rows: Table, label: str) -> list[Prune]:
    """The prunes of an arm's trial with the lowest seed, first to last."""
    mine = [row for row in rows if row["row"] == label and row["phase"] is not None and row["value"] is not None]
    lowest = min((row["seed"] for row in mine), default=0)
    mine = [row for row in mine if row["seed"] == lowest]
    goal = goals(mine)[0].metric
    judged = {row["epoch"]: row["value"] for row in mine if (row["split"], row["metric"]) == ("train", goal)}
    sparsity = {row["step"]: row["value"] for row in mine if (row["split"], row["metric"]) == ("prune", "sparsity")}
    found: dict[int, Prune] = {}
    sides = {"before prune": "before", "after prune": "after"}
    for row in mine:
        if row["split"] in sides and (match := re.fullmatch(r"sigma_(\d+)_(\d+)", row["metric"])):
            prune = found.setdefault(row["step"], Prune(row["epoch"]))
            _put(getattr(prune, sides[row["split"]]), int(match[1]), int(match[2]), row["value"])
    for step, prune in found.items():
        prune.sparsity = sparsity.get(step)
        prune.judged = (goal, judged[prune.epoch]) if prune.epoch in judged else None
    return [found[step] for step in sorted(found)]


def _put(sigma: Sigma, layer: int, index: int, value: float) -> None:
    values = sigma.setdefault(layer, [])
    values.extend([0.0] * (index - len(values)))
    values[index - 1] = value


def changes(before: Sequence[float], after: Sequence[float]) -> dict[int, float]:
    """100 (σ'_i / σ_i - 1) by i, from 1: after-values up to 1e-3 count as 0, and what is then -100 is dropped.

    So is an index where σ_i is 0 already, which has no ratio.
    """
    found = {}
    for i, (was, now) in enumerate(zip(before, after, strict=True), start=1):
        change = 100 * ((now if now > ZERO else 0.0) / was - 1) if was else -100.0
        if change != -100:
            found[i] = change
    return found


def whole(found: Sequence[Prune]) -> Prune | None:
    """From before the first prune to after the last, as if they were one."""
    if not found:
        return None
    first, last = found[0], found[-1]
    return Prune(last.epoch, first.before, last.after, last.judged, last.sparsity)


def overall(rows: Table, folder: Path, *, arm: str, control: str) -> Figure:
    """Before the first prune of `arm` against after the last, a panel a layer."""
    found = {label: prunes(rows, label) for label in (control, arm)}
    arms = {label: whole(each) for label, each in found.items()}
    layers = _layers([arms])
    if arms[arm] is None or not layers:
        return nothing()
    figure = canvas(WIDTH, 4.6)
    panels = figure.subplots(2, -(-len(layers) // 2), squeeze=False).flatten()
    for layer, axes in zip(layers, panels, strict=False):
        _panel(axes, arms, layer)
        axes.set_xlabel(f"index i in hidden layer {layer} (number)")
    for spare in panels[len(layers) :]:
        spare.remove()
    _title(panels[0], _heading(f"All {len(found[arm])} prunes made", arms[arm]))
    _finish(figure)
    return figure


def by_cycle(first: int, last: int, *, of: int, arm: str, control: str) -> Draw:
    """A line of panels for each cycle from `first` to `last` of `of`, all on one scale."""

    def draw(rows: Table, folder: Path) -> Figure:
        found = {label: prunes(rows, label) for label in (control, arm)}
        cycles = range(first, last + 1)
        every = [{label: each[at - 1] if at <= len(each) else None for label, each in found.items()} for at in cycles]
        layers = _layers(every)
        if not found[arm] or not layers:
            return nothing("none of these cycles was reached" if found[arm] else NOT_RUN)
        figure = canvas(WIDTH, 0.9 + 1.45 * len(every))
        grid = figure.subplots(len(every), len(layers), squeeze=False)
        for cycle, arms, line in zip(cycles, every, grid, strict=True):
            for layer, axes in zip(layers, line, strict=True):
                _panel(axes, arms, layer)
            _title(line[0], _heading(f"Cycle {cycle} of {of}", arms[arm]))
        for layer, axes in zip(layers, grid[-1], strict=True):
            axes.set_xlabel(f"index i (number)\nhidden layer {layer}")
        _one_scale(grid)
        _finish(figure)
        return figure

    return draw


def _layers(every: Sequence[Arms]) -> list[int]:
    return sorted({layer for arms in every for prune in arms.values() if prune for layer in prune.before})


def _heading(words: str, prune: Prune | None) -> str:
    """As the paper's: how many singular values there are and remain, the goal in training, total pruned."""
    if prune is None:
        return f"{words}: not reached"
    total = sum(map(len, prune.before.values()))
    remain = sum(value > ZERO for values in prune.after.values() for value in values)
    words += f": {remain} of {total} singular values remain"
    words += f"; training {prune.judged[0]} {prune.judged[1]:.3f}" if prune.judged else ""
    return words + (f"; {100 * prune.sparsity:.1f} % pruned" if prune.sparsity is not None else "")


def _title(axes: Axes, words: str) -> None:
    """Over the whole line of panels: room is kept for its height, none for its length."""
    axes.set_title(" ")
    axes.text(-0.2, 1.04, words, transform=axes.transAxes, va="bottom", fontsize=8).set_in_layout(False)


def _panel(axes: Axes, arms: Arms, layer: int) -> None:
    *_, last = arms.values()
    if last is None:
        absent(axes, "not reached")
        return
    axes.axhline(0, color=GREY, lw=0.6)
    for (label, prune), (color, dash), note in zip(arms.items(), LOOKS, (" (control)", ""), strict=True):
        if prune and layer in prune.before:
            found = changes(prune.before[layer], prune.after[layer])
            looks: Any = {"color": color, "ls": dash, "marker": "o" if len(found) == 1 else "", "ms": 2, "lw": 1.2}
            axes.plot(list(found), list(found.values()), label=label + note, **looks)
    axes.set_xlim(0, 1 + max(len(prune.before.get(layer, ())) for prune in arms.values() if prune))
    axes.grid(axis="y", color="#dddddd")


def _one_scale(grid: Any) -> None:
    """The same for all panels, so that they can be compared; its numbers stand on the left only."""
    drawn = [value for axes in grid.flat for line in axes.get_lines() for value in line.get_ydata()]
    low, high = min(drawn), max(drawn)
    room = 0.08 * (high - low) or 1.0
    for line in grid:
        for at, axes in enumerate(line):
            if axes.get_lines():
                axes.set_ylim(low - room, high + room)
                axes.tick_params(labelleft=at == 0)


def _finish(figure: Figure) -> None:
    figure.supylabel("change of singular value, 100 (s'/s - 1) (%)", fontsize=9)
    handles = {name: line for axes in figure.axes for line, name in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(list(handles.values()), list(handles), loc="outside upper center", ncols=2)
