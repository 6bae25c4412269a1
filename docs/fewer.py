"""The figures of the study fewer_macs: test accuracy against the multiply-adds left, a line for each way to cut.

Shown are `prune` with its defaults, the two other ways of ours and the one of Torch-Pruning that validation images rank
first, and luck. A bar is the 95 % interval of the mean over seeds; an arm of one seed has none.
"""

import math
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from drawing import Axis, Point, chart

from sapwood.study.duels import ranked
from sapwood.study.finals import goal_value, number_of, share
from sapwood.study.seeds import summed_up
from sapwood.study.study import find
from sapwood.study.table import Table

ROOT = Path(__file__).resolve().parents[1]
LEFT = share(number_of("macs"), number_of("reference_macs"))
LUCK, OTHERS = "prune, luck", 2
STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20)  # points between two marks
ROOM = 5  # percent of the multiply-adds, beside the first and the last point


def arms() -> Any:
    """The study's file of arms."""
    find(str(ROOT / "studies" / "fewer_macs" / "__init__.py"))
    return sys.modules["sapwood_study_fewer_macs.arms"]


def figures(rows: Table) -> dict[str, str]:
    """File name -> SVG, one for each network of which there are rows at every budget."""
    drawn = {f"fewer-macs-{net.name.lower()}.svg": figure(rows, net) for net in (arms().SMALL, arms().LARGE)}
    return {name: svg for name, svg in drawn.items() if svg}


def figure(rows: Table, net: Any) -> str:
    """The figure of one network; "" without rows."""
    of = arms()
    budgets = [budget for budget in net.budgets if budget in of.THIRDS]
    found = {name: line(rows, net, way, budgets) for name, way in shown(rows, net.name, budgets).items()}
    lines = {name: points for name, points in found.items() if points}
    if not lines:
        return ""
    dense = summed_up(goal_value(rows, f"{net.name}, {of.DENSE}"))
    whole = dense.mean if dense else None
    x = Axis("multiply-adds left", *ends(lines), {100 * of.THIRDS[budget]: budget for budget in budgets})
    title = f"Test accuracy of {net.name}, one recovery for all, with intervals over seeds"
    return chart(title, x, heights(lines, whole), lines, whole)


def shown(rows: Table, net: str, budgets: Iterable[str]) -> dict[str, str]:
    """{name of a line: way}, in the order in which they are drawn."""
    of, at = arms(), tuple(budgets)
    every = ranked(rows, {way: [f"{net}, {way}, {budget}" for budget in at] for way in of.EVERY})
    others = [way for way in every if way in of.OURS and way not in (of.PRUNE, LUCK)][:OTHERS]
    named = {f"{of.PRUNE}, the default": of.PRUNE} | {way.removeprefix(f"{of.PRUNE}, "): way for way in others}
    named |= {"Torch-Pruning's best": next((way for way in every if way in of.PEERS), ""), "luck": LUCK}
    return {name: way for name, way in named.items() if way in every}


def line(rows: Table, net: Any, way: str, budgets: Iterable[str]) -> list[Point]:
    """A point for each budget, at what is left as it was measured."""
    found = []
    for budget in budgets:
        arm = f"{net.name}, {way}, {budget}"
        left, reached = summed_up(LEFT(rows, arm)), summed_up(goal_value(rows, arm))
        if left and reached:
            low, high = (reached.mean if end is None else end for end in (reached.low, reached.high))
            found.append(Point(left.mean, reached.mean, low, high))
    return found


def ends(lines: Mapping[str, list[Point]]) -> tuple[float, float]:
    """Where the axis of multiply-adds begins and ends: the whole network is on the left."""
    places = [point.x for points in lines.values() for point in points]
    return max(places) + ROOM, min(places) - ROOM


def heights(lines: Mapping[str, list[Point]], whole: float | None) -> Axis:
    """The axis of accuracy, with all bars on it and at most seven marks."""
    every = [end for points in lines.values() for point in points for end in (point.low, point.high)]
    low, high = min(every), max([*every, *([] if whole is None else [whole])])
    step = next((each for each in STEPS if high - low <= 5 * each), STEPS[-1])
    start, end = math.floor(low / step), max(math.ceil(high / step), math.floor(low / step) + 1)
    marks = {step * at: f"{step * at:g} %" for at in range(start, end + 1)}
    return Axis("accuracy", step * start, step * end, marks)
