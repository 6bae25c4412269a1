"""Cost report: what one prune costs against the number of weights, as a drawing and as lines of a table."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sapwood.errors import InputError
from sapwood.study.cost import EVERYWHERE, ONE_LAYER, Cost, Exponent, exponent, read
from sapwood.study.grid import NOTHING, Grid, number
from sapwood.study.plots import LOOKS, WIDTH, absent, canvas, nothing
from sapwood.study.standing import as_said
from sapwood.study.study import Finding
from sapwood.study.table import Summary, Table
from sapwood.study.words import finding

if TYPE_CHECKING:  # drawing takes long to import, and most who read a study draw nothing
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FILE = "cost.csv"  # in the folder of the results, as `sapwood.study.cost.write` writes it
PANELS = (("seconds", "time (s)"), ("bytes", "memory (bytes)"))
MARKERS = "os^vDP"


def cost(rows: Table, folder: Path) -> Figure:
    """Time and memory of one prune against the weights, both axes logarithmic, and the exponents of growth."""
    if not (folder / FILE).exists():
        return nothing(f"not measured: there is no {FILE} among the results")
    costs = read(folder / FILE)
    figure = canvas(WIDTH, 4.1)
    for axes, (metric, words) in zip(figure.subplots(1, 2), PANELS, strict=True):
        _panel(axes, [each for each in costs if each.metric == metric and each.value > 0], metric)
        axes.set_xlabel("weights (number)")
        axes.set_ylabel(words)
    return figure


def _panel(axes: Axes, costs: Collection[Cost], metric: str) -> None:
    if not costs:
        absent(axes, "not measured")
        return
    for at, kind in enumerate(dict.fromkeys(each.kind for each in costs)):
        mine = sorted((each for each in costs if each.kind == kind), key=lambda each: each.weights)
        x, y = [each.weights for each in mine], [each.value for each in mine]
        color, dash = LOOKS[at % len(LOOKS)]
        label = f"{kind}{_slope(mine, metric)}"
        axes.plot(x, y, color=color, ls=dash, marker=MARKERS[at % len(MARKERS)], ms=4, label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.grid(color="#e6e6e6")
    axes.legend(
        title="slope [95 % interval]",
        loc="upper left",
        bbox_to_anchor=(-0.3, -0.18),
        fontsize=8,
        title_fontsize=8,
        alignment="left",
        handlelength=1.6,
        handletextpad=0.5,
    )


def _slope(mine: Collection[Cost], metric: str) -> str:
    """The exponent of the weights, where enough sizes were measured for one."""
    try:
        ((slope, low, high, sizes),) = exponent(mine, metric).values()
    except InputError:
        return ""
    return f": {number(Summary(slope, low, high, sizes), 2)}"


def complexity(printed: Mapping[str, tuple[str, str]]) -> Callable[[Table], Grid]:
    """A builder of the table of a prune's costs: the orders printed, {scope: (time, memory)}, and growth measured."""
    columns = ("prune", "sizes (n)", "time (order in neurons; growth with weights W)",
               "memory (order in neurons; growth with weights W)")  # fmt: skip
    lines = [(f"printed: {scope}", NOTHING, time, memory) for scope, (time, memory) in printed.items()]
    return lambda rows: Grid(columns, (*lines, *measured(rows)))


def measured(rows: Table) -> list[tuple[str, ...]]:
    """(step, how many sizes, growth of its time, of its memory), from the rows that `cost.as_rows` gives.

    No trial makes these rows: "row" is "cost", split is the step, metric "seconds" or "bytes", "weights" the size.
    """
    costs = [
        Cost(row["split"], row["weights"], row["metric"], row["value"])
        for row in rows
        if row["row"] == "cost" and row["value"] is not None
    ]
    seconds, held = _exponents(costs, "seconds"), _exponents(costs, "bytes")
    return [
        (f"measured: {step}", str(seconds[step].sizes) if step in seconds else NOTHING,
         *(_power(each.get(step)) for each in (seconds, held)))
        for step in dict.fromkeys(cost.kind for cost in costs)
    ]  # fmt: skip


def ratios(rows: Table, one: str, other: str) -> dict[str, float]:
    """{metric: the cost of step `one` / that of `other`} at the largest size that both were measured at."""
    found: dict[tuple[str, int], dict[str, float]] = {}
    for row in rows:
        if row["row"] == "cost" and row["value"]:
            found.setdefault((row["metric"], row["weights"]), {})[row["split"]] = row["value"]
    return {metric: its[one] / its[other] for (metric, _), its in sorted(found.items()) if {one, other} <= its.keys()}


def cheaper_in_one_layer(claim: str) -> Callable[[Table], Finding]:
    """What is found of a claim that a cycle of local pruning takes less time and memory, by costs of `cost.SCOPES`."""

    def found(rows: Table) -> Finding:
        costs = ratios(rows, ONE_LAYER, EVERYWHERE)
        said = ", ".join(f"{ratio:.2f} of the {metric}" for metric, ratio in costs.items())
        answer = f"A cycle in one of four equal layers takes {said} of one in all." if said else ""
        more = "There are as many such cycles as layers; counting and training, which take longer, are the same."
        return finding(claim, answer, more)._replace(standing=as_said([ratio < 1 for ratio in costs.values()]))

    return found


def _exponents(costs: list[Cost], metric: str) -> dict[str, Exponent]:
    try:
        return exponent(costs, metric)
    except InputError:  # of too few sizes
        return {}


def _power(found: Exponent | None) -> str:
    return NOTHING if found is None else f"W^{number(Summary(*found), 2)}"
