"""Rethought: the trials that train again what another trial has pruned, with its weights, with new ones, at its cost.

One call for any method: `rethought(pruned, "scratch_b")`; see `methods.rethink` for what each protocol is.
"""

from collections.abc import Iterable

from sapwood.errors import refuse_unless
from sapwood.methods.parts.equal_macs import WIDTHS
from sapwood.methods.rethink import PROTOCOLS
from sapwood.study.finals import goal_value, number_of
from sapwood.study.grid import Grid, number
from sapwood.study.seeds import summed_up
from sapwood.study.table import Table
from sapwood.trials.trial import Trial, Value

SHORT = {
    "fine_tune": "FT",
    "reinitialised": "FT from random weights",
    "scratch_e": "Scratch-E",
    "scratch_b": "Scratch-B",
}
CONTROLS = {"units": "random units", "uniform": "uniform widths", "random": "random widths"}


def rethought(
    pruned: Trial, protocol: str, widths: str = "pruned", start: Trial | None = None, /, **options: Value
) -> Trial:
    """The trial that rethinks the network of `pruned`, with its seed, on its task and under its recipe.

    Its arm is that of `pruned` with the protocol's short name behind it: see `named`. `start`: whose weights a control
    is fine-tuned from; else those that `pruned` began with. Options are those of the method `rethink`.
    """
    refuse_unless("protocol", protocol, PROTOCOLS)
    refuse_unless("widths", widths, WIDTHS)
    arm = named(pruned.arm, protocol, widths)
    trial = Trial.make("rethink", pruned.task, pruned.seed, arm, protocol=protocol, widths=widths, **options)
    begun = start or dict(pruned.uses).get("start")
    uses = {"start": begun} if begun and widths != "pruned" and protocol == "fine_tune" else {}
    return trial.under(**dict(pruned.recipe)).after(like=pruned, **uses)


def named(arm: str, protocol: str, widths: str = "pruned") -> str:
    """What such a trial's arm is called: "L1 filters, Scratch-B", "L1 filters, random units, FT"."""
    return ", ".join((arm, *([CONTROLS[widths]] if widths in CONTROLS else []), SHORT[protocol]))


def protocols(arms: Iterable[str], rows: Table) -> Grid:
    """A line for each pruned arm: what the protocols reach, at which cost."""
    shown = {
        "FT": "fine_tune",
        "FT, random weights": "reinitialised",
        "Scratch-E": "scratch_e",
        "Scratch-B": "scratch_b",
    }
    left, cost = number_of("macs_left", "note", 100), number_of("cost", "note")
    lines = []
    for arm in arms:
        cells = [number(summed_up(goal_value(rows, named(arm, each))), 2) for each in shown.values()]
        longest = named(arm, "scratch_b")
        if summed_up(left(rows, longest)):
            spent = (number(summed_up(of(rows, longest)), decimals) for of, decimals in ((left, 1), (cost, 3)))
            lines.append((arm, number(summed_up(goal_value(rows, arm)), 2), *cells, *spent))
    return Grid(("pruned by", "not tuned (%)", *(f"{name} (%)" for name in shown), "MACs left (%)",
                 "cost of Scratch-B (of the dense network's)"), tuple(lines))  # fmt: skip
